"""The web form for clinicians: Streamlit, over HTTP to the API only."""
