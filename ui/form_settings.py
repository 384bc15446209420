"""Settings of the web form."""

from readmit.settings import ApiClientSettings, PageSettings


class FormSettings(ApiClientSettings, PageSettings):
    """The web form: the API that it asks, and the pages that it links to."""
