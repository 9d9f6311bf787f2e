"""Looking at a page with headless Chromium: what it shows after its script ran."""

from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60  # for one look
MILLISECONDS = 4000  # of the page's own time; it passes as fast as the machine can

# The page is laid out in a frame of its own size: a window is never narrower than 500 pixels.
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="frame" src="{url}" style="border:0;width:{width}px;height:{height}px"></iframe><pre id="answer"></pre>
<script>
const AsyncFunction = (async () => {{}}).constructor;
frame.onload = () => setTimeout(async () => {{
  try {{
    const ask = new AsyncFunction("document", "window", "wait", {script});
    const wait = (ms) => new Promise((done) => frame.contentWindow.setTimeout(done, ms));
    answer.textContent = JSON.stringify({{ answer: await ask(frame.contentDocument, frame.contentWindow, wait) ?? null }});
  }} catch (error) {{ answer.textContent = JSON.stringify({{ error: String(error) }}); }}
}}, 300);
</script>"""


@dataclass(frozen=True)
class Browser:
    """A program to look with, and a folder that is its own."""

    program: str
    folder: Path

    def ask(self, page: Path, script: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Any:
        """What the body of an async function (document, window, wait) returns, asked of the page once it is drawn."""
        frame = self.folder / "frame.html"
        frame.write_text(FRAME.format(url=page.as_uri(), width=width, height=height, script=json.dumps(script)))
        scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        shown = self._run(frame, "--dump-dom", "--allow-file-access-from-files", *scheme).stdout
        found = re.search(r'<pre id="answer">(.*?)</pre>', shown, re.DOTALL)
        reply = json.loads(html.unescape(found[1])) if found and found[1] else {"error": "the page gave no answer"}
        assert "error" not in reply, reply["error"]
        return reply["answer"]

    def complaints(self, page: Path) -> list[str]:
        """What the page wrote to the console."""
        said = self._run(page, "--dump-dom", "--enable-logging=stderr").stderr
        return [line for line in said.splitlines() if ":CONSOLE" in line]

    def print_pdf(self, page: Path) -> bytes:
        """The page on paper."""
        path = self.folder / "print.pdf"
        self._run(page, "--no-pdf-header-footer", f"--print-to-pdf={path}")
        return path.read_bytes()

    def _run(self, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [
            self.program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={self.folder / 'profile'}", f"--virtual-time-budget={MILLISECONDS}", *options, page.as_uri(),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
