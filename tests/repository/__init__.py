"""The repository itself: floors, prose, README, the wheel, the compiled build, the tests."""
