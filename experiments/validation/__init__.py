"""The suite of `python -m experiments.validate`: one module a family of cases, each a generator of judged Cases."""
