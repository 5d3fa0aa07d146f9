"""What a node knows of objects: who owns, holds, borrows and stores them, and what its clients ask for."""
