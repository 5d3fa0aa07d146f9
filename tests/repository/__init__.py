"""The repository itself: floors, README, the compiled build, the tests."""
