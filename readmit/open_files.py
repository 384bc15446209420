"""Files and connections that a process may have open at once: as many as the system allows.

Debian starts the processes of an ordinary user with a soft limit of 1,024. Each process may raise
its own to the hard limit (524,288 on Debian); what it starts inherits that.
"""

import resource

# The API and the load generator have a connection per user, and `make capacity` has reached 1,763
# users on one machine; a test holds 1,000 requests open. It is also the least that Linux itself
# gives: a lower hard limit was set by somebody.
NEEDED = 4_096


def raise_limit() -> str:
    """Raise this process' soft limit to the hard one.

    Returns:
        A line that says so when the hard limit is lower than what is needed, else an empty text.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY or hard >= NEEDED:
        return ""
    return (
        f"a process may have {hard} files and connections open here, {NEEDED} are needed: "
        "raise the hard limit (`ulimit -Hn`; nofile in /etc/security/limits.conf)"
    )
