"""What comes in: arrays and tables from users, checked and made to fit the core."""
