"""Charts as rows of styled text, drawn in braille: for the dashboard's widget and for commands. No Textual."""
