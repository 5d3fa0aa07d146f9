"""The user-program half of labray: what turns a program's calls into messages, the same in every world."""
