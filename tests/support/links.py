"""Links to files as people copy them."""

DRIVE = "https://drive.google.com/uc?export=download&id=1k5-1aB_"
COURSE = "https://docs.google.com/uc?export=download&confirm={{VALUE}}&id=1k5-1aB_"
# What the link is, how it is copied, and the address of the file.
SHARE_LINKS = [
    (
        "Google Drive: share",
        "https://drive.google.com/file/d/1k5-1aB_/view?usp=sharing",
        DRIVE,
    ),
    (
        "Google Drive: edit",
        "https://drive.google.com/file/d/1k5-1aB_/edit",
        DRIVE,
    ),
    (
        "Google Drive: the address alone",
        "https://drive.google.com/file/d/1k5-1aB_",
        DRIVE,
    ),
    (
        "Google Drive: of a second account",
        "https://drive.google.com/file/u/1/d/1k5-1aB_/view",
        DRIVE,
    ),
    (
        "Google Drive: open",
        "https://drive.google.com/open?id=1k5-1aB_&authuser=0",
        DRIVE,
    ),
    (
        "Google Drive: with a resource key",
        "https://drive.google.com/file/d/1k5-1aB_/view?resourcekey=0-x",
        DRIVE + "&resourcekey=0-x",
    ),
    (
        "Google Sheets",
        "https://docs.google.com/spreadsheets/d/1k5-1aB_/edit#gid=0",
        "https://docs.google.com/spreadsheets/d/1k5-1aB_/export?format=csv",
    ),
    (
        "Dropbox: share",
        "https://www.dropbox.com/scl/fi/abc/d.csv?rlkey=xyz&dl=0",
        "https://www.dropbox.com/scl/fi/abc/d.csv?rlkey=xyz&dl=1",
    ),
    (
        "Dropbox: of before 2023",
        "https://www.dropbox.com/s/abc/d.csv",
        "https://www.dropbox.com/s/abc/d.csv?dl=1",
    ),
    (
        "GitHub: page of a file",
        "https://github.com/o/r/blob/main/data/diabetic_data.csv",
        "https://github.com/o/r/raw/main/data/diabetic_data.csv",
    ),
    (
        "GitLab: page of a file",
        "https://gitlab.com/o/r/-/blob/main/d.csv",
        "https://gitlab.com/o/r/-/raw/main/d.csv",
    ),
    (
        "Hugging Face: page of a file",
        "https://huggingface.co/datasets/o/r/blob/main/d.csv",
        "https://huggingface.co/datasets/o/r/resolve/main/d.csv",
    ),
]
