"""Pictures that tests draw."""

import io


def drawn(figure):
    """Render, which is when matplotlib finds most mistakes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    assert buffer.getvalue().startswith(b"\x89PNG")
    return figure
