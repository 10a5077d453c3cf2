"""A paragraph of 273 characters, written for this project, to try the text task on."""

PARAGRAPH = (
    "A network with memory reads one letter at a time, keeps a small note of what it saw, and says "
    "what might come next. Where it is wrong, the error walks back through each step, and every "
    "weight that shared the blame shifts a bit. After enough rounds, the quiet page is known."
)
