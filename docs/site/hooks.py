"""Sets the equations while the site is built, and has the site fetch nothing from elsewhere.

KaTeX comes from npm and runs in node (the `docs` extra brings both); its style sheet and fonts are
copied into the site. An equation that KaTeX does not understand ends the build. The script with
which the search works in a folder opened without a server is copied too.
"""

import ast
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

PACKAGES = {"katex": "0.19.1", "iframe-worker": "1.0.4"}
_TOP = Path(__file__).resolve().parent.parent.parent
_HOME = _TOP / "build" / "npm"
_MODULES = _HOME / "node_modules"
# What pymdownx.arithmatex makes of $...$ and $$...$$.
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_NUMBER = re.compile(r"\\tag\{(.*?)\}")
# What a browser loads by itself, from another host.
_FOREIGN = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
# KaTeX's errors end the process, with the formula in the message.
_SCRIPT = """
const katex = require(process.argv[1]);
const formulas = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(formulas.map(([tex, displayMode]) =>
    katex.renderToString(tex, {displayMode, strict: "error"}))));
"""


def _program(name: str) -> str:
    """node or npm: of this environment, or else wherever it is."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        raise PluginError(f"{name} is needed for the equations: pip install '.[docs]'")
    return found


def on_config(config: Any) -> Any:
    """Fetch the packages, once; the search's script is the copy in the site."""
    config.extra["polyfills"] = ["assets/iframe-worker.js"]
    for name, version in PACKAGES.items():
        about = _MODULES / name / "package.json"
        if not about.exists() or json.loads(about.read_text())["version"] != version:
            _HOME.mkdir(parents=True, exist_ok=True)
            command = [_program("npm"), "install", "--silent", "--no-save", "--no-package-lock"]
            wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
            subprocess.run([*command, *wanted], cwd=_HOME, check=True)
            break
    return config


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """The reference with all public names: those that it does not place come at its end."""
    if page.file.src_uri != "reference.md":
        return markdown
    tree = ast.parse((_TOP / "src" / "bptt" / "__init__.py").read_text())
    (names,) = (
        ast.literal_eval(each.value)
        for each in tree.body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__all__"
    )
    placed = set(re.findall(r"^::: bptt\.(\w+)$", markdown, re.MULTILINE))
    rest = sorted({*names} - placed - {"__version__"})
    return markdown + "".join(
        ["\n## Further\n\n" if rest else "", *map("::: bptt.{}\n".format, rest)]
    )


def on_files(files: Files, config: Any) -> Files:
    """KaTeX's style sheet, its fonts and the search's script become files of the site."""
    dist = _MODULES / "katex" / "dist"
    for font in (dist / "fonts").glob("*.woff2"):
        files.append(File.generated(config, f"katex/fonts/{font.name}", abs_src_path=str(font)))
    # Every browser of the last ten years reads woff2: the older forms are left out.
    older = r",url\(fonts/[^)]+\.(?:woff|ttf)\) format\([^)]*\)"
    sheet = re.sub(older, "", (dist / "katex.min.css").read_text())
    files.append(File.generated(config, "katex/katex.min.css", content=sheet))
    shim = (_MODULES / "iframe-worker" / "shim" / "index.js").read_text()
    files.append(File.generated(config, "assets/iframe-worker.js", content=shim))
    return files


def _parts(tex: str) -> list[str]:
    """What stands side by side in a displayed formula, and on a phone one below the other."""
    return [tex] if r"\begin" in tex else tex.split(r"\qquad")


def on_page_content(html_text: str, page: Any, **others: Any) -> str:
    """A page with its formulas set: inline, or in parts with the formula's number beside them."""
    formulas: list[tuple[str, bool]] = []
    for found in _FORMULA.finditer(html_text):
        tex, displayed = html.unescape(found["tex"]).strip(), found["tag"] == "div"
        parts = _parts(_NUMBER.sub("", tex)) if displayed else [tex]
        formulas += [(part, displayed) for part in parts]
    if not formulas:
        return html_text
    done = subprocess.run(
        [_program("node"), "-e", _SCRIPT, str(_MODULES / "katex")],
        input=json.dumps(formulas), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise PluginError(f"{page.file.src_path}: {done.stderr}")
    rendered = iter(json.loads(done.stdout))

    def element(found: re.Match[str]) -> str:
        # The search takes the words around a formula, not the formula.
        if found["tag"] == "span":
            return f'<span class="formula" data-search-exclude>{next(rendered)}</span>'
        number = _NUMBER.search(found["tex"])
        parts = "".join(next(rendered) for _ in _parts(found["tex"]))
        beside = f'<span class="number">({number[1]})</span>' if number else ""
        return (
            f'<div class="formula" data-search-exclude><div class="parts">{parts}</div>'
            f"{beside}</div>"
        )

    return _FORMULA.sub(element, html_text)


def on_post_page(output: str, page: Any, **others: Any) -> str:
    """The finished page. Raises PluginError if it would load something from elsewhere."""
    if found := _FOREIGN.search(output):
        raise PluginError(f"{page.file.src_path} loads from elsewhere: {found[0]}")
    return output
