"""How fast, in how much memory: what is measured (cases), how (record), and the table in the README (table)."""
