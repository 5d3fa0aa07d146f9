"""`labray compare`: one program for real and simulated, under two schedulers, and a page that shows the difference.

`compare` runs the job; `identifiers` is the program, `measured`, `prediction` and `scaling` are its three steps, and
`tables`, `charts` and `page` show what they found.
"""
