"""One folder a paper: its claim, our script, our figure, theirs beside ours. README.md has the form."""
