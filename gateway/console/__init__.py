"""What the console shows: measured, remembered and gathered here, sent by routes/console.py."""
