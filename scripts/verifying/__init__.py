"""What scripts/verify_resume is made of. Standard library only."""
