"""The notebook: magics, the choice between asking and running, and the card."""
