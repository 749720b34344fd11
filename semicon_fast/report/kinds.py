"""The kinds of figures of a run by name, and what each shows."""

KINDS = {
    "maps": "attention maps over the images",
    "channels": "channels before and after ICON",
    "grid": "queries and their nearest images, relevant and other hits framed",
    "curve": "precision over recall",
    "lengths": "precision within radius 2 over code length",
    "outputs": "histogram of the network's outputs",
    "parts": "mAP by the number of parts used, and of each part alone",
}
