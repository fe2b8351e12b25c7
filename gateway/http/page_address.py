"""Where this gateway itself serves an extension's page."""


def served_here(page: str, public_base: str) -> str:
    """The same page by a path that the gateway itself answers, whatever leads browsers to it.

    Args:
        page: what a backend resolved; an address of another origin stays as it is.
        public_base: RUNNER_PUBLIC_BASE.

    >>> served_here("/apps/ext-ui/ext-1", "/apps"), served_here("http://cdn/ext-ui/ext-1", "/apps")
    ('/runner/ext-ui/ext-1', 'http://cdn/ext-ui/ext-1')
    """
    return f"/runner{page.removeprefix(public_base.rstrip('/'))}" if page.startswith("/") else page
