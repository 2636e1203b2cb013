"""Reports: tables, pictures and the command that made them; every file is written whole or not at all."""
