"""What a node does when workers, places or memory are lost, and when tasks wait for each other."""
