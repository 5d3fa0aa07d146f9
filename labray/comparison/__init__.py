"""`labray compare`: one program for real and simulated, under two schedulers, and a page that shows the difference.

`compare` runs the job and `identifiers` is its program. `measured` is step 1; `simulations` runs steps 2 (`prediction`)
and 3 (`scaling`). `findings` is all that was found, and `tables`, `charts` and `page` show it.
"""
