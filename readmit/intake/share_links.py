"""Turn the link that a browser shows, or a "share" button copies, into the address of the file."""

from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

DRIVE_HOSTS = ("drive.google.com", "docs.google.com")
# Of these hosts, the part of the path of a page about a file, and that of the file itself.
PAGES_OF_FILES = {
    "github.com": ("/blob/", "/raw/"),
    "gitlab.com": ("/-/blob/", "/-/raw/"),
    "huggingface.co": ("/blob/", "/resolve/"),
}


def file_address(url: str) -> str:
    """Return the address of the file that a share link is about; other addresses stay.

    Known are Google Drive (`/file/d/ID/view`, `open?id=ID`, spreadsheets), Dropbox (`dl=0`), and
    pages of files on GitHub, GitLab and Hugging Face.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:  # no address at all: the download says so
        return url
    if host in DRIVE_HOSTS:
        return _drive_address(url)
    if host == "dropbox.com":
        query = parse_qs(parts.query) | {"dl": ["1"]}
        return urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
    if host in PAGES_OF_FILES:
        page, file = PAGES_OF_FILES[host]
        return urlunsplit(parts._replace(path=parts.path.replace(page, file, 1)))
    return url


def _drive_address(url: str) -> str:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    folders = parts.path.split("/")
    file_id = query.get("id", [""])[0]
    if "d" in folders[:-1]:
        file_id = folders[folders.index("d") + 1]
    is_page = parts.path == "/open" or "d" in folders
    if not file_id or not is_page:
        return url
    if "spreadsheets" in folders:
        return f"https://docs.google.com/spreadsheets/d/{quote(file_id)}/export?format=csv"
    fields = {"export": "download", "id": file_id}
    if "resourcekey" in query:
        fields["resourcekey"] = query["resourcekey"][0]
    return f"https://drive.google.com/uc?{urlencode(fields)}"
