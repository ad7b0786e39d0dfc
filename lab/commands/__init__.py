"""The programs that the lab plays, by field."""
