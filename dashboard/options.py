"""What Streamlit must be told for the pages to be safe, whatever a configuration file or a flag says.

Looks and conveniences stand in `.streamlit/config.toml`; what keeps people out or secrets in stands here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import streamlit
from streamlit import config

from core.web.gate import ROLE_HEADER, SESSION_HEADER, USER_HEADER

SAFE: Final[dict[str, object]] = {
    # Who is asking: the gate writes these headers, and takes off whatever a client sent under these names.
    "server.trustedUserHeaders": {USER_HEADER: "name", ROLE_HEADER: "role", SESSION_HEADER: "sid"},
    # An error on the screen would show code, values and paths.
    "client.showErrorDetails": "none",
    # A page runs for people, through the gate, and not for programs.
    "server.enableAgentApi": False,
    # Nothing is told to anyone outside.
    "browser.gatherUsageStats": False,
    # Uploads are not used; what is not used stays small.
    "server.maxUploadSize": 1,
}


def enforce() -> None:
    """Set every option of `SAFE`."""
    for name, value in SAFE.items():
        config.set_option(name, value)


def index_page() -> str:
    """The page that Streamlit serves for every address; it carries one script in itself."""
    return (Path(streamlit.__file__).parent / "static" / "index.html").read_text("utf-8")
