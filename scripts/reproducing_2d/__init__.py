"""What scripts/reproduce_2d is made of: the methods, their runs, densities as pictures, tables. Standard library only."""
