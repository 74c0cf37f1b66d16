"""What a backend must keep: one file for each area of the contract."""
