"""What scripts/reproduce_digits is made of: its methods, the programs' command lines, the work, the table. Standard library only."""
