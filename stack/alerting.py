"""Alertmanager's configuration: who gets which alerts, and how often.

Pages (`severity: page`) are sent after 30 seconds and repeated each hour, tickets after five
minutes and each day. Alerts of one name are one message. The file holds the receiver's secrets.
"""

import yaml

from readmit.settings import AlertSettings

RECEIVER = "readmit"
SUBJECT = (
    "[readmit {{ .CommonLabels.severity }}] {{ .Status }}:"
    " {{ .GroupLabels.alertname }} ({{ .Alerts | len }})"
)


def has_receiver(settings: AlertSettings) -> bool:
    """Return whether anybody gets the alerts."""
    return bool(settings.alert_webhook_url or settings.alert_email_to)


def problem(settings: AlertSettings) -> str:
    """Return a problem when mails are asked for and no server is named, or an empty text."""
    if settings.alert_email_to and not settings.alert_smtp_address:
        return (
            "READMIT_ALERT_EMAIL_TO is set, and no mail server:"
            " set READMIT_ALERT_SMTP_ADDRESS=host:port"
        )
    return ""


def configuration(settings: AlertSettings) -> str:
    """Return Alertmanager's configuration as YAML; without a receiver nobody gets a message."""
    receiver: dict[str, object] = {"name": RECEIVER}
    if settings.alert_webhook_url:
        url = settings.alert_webhook_url.get_secret_value()
        receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
    if settings.alert_email_to:
        receiver["email_configs"] = [_mail(settings, settings.alert_email_to)]
    document = {
        "route": {
            "receiver": RECEIVER,
            "group_by": ["alertname", "severity"],
            "group_wait": "5m",
            "group_interval": "15m",
            "repeat_interval": "24h",
            "routes": [
                {
                    "matchers": ['severity="page"'],
                    "group_wait": "30s",
                    "group_interval": "5m",
                    "repeat_interval": "1h",
                }
            ],
        },
        # While the API is down, nobody needs a message about its latency.
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="ApiDown"'],
                "target_matchers": ['alertname=~"Api.+|NoProductionModel"', 'alertname!="ApiDown"'],
            }
        ],
        "receivers": [receiver],
    }
    return str(yaml.safe_dump(document, sort_keys=False))


def _mail(settings: AlertSettings, recipient: str) -> dict[str, object]:
    # Port 465 is TLS from the first byte, and its servers offer no STARTTLS on top.
    is_tls_port = (settings.alert_smtp_address or "").endswith(":465")
    mail: dict[str, object] = {
        "to": recipient,
        "from": settings.alert_email_from,
        "smarthost": settings.alert_smtp_address or "",
        "require_tls": settings.alert_smtp_tls and not is_tls_port,
        "send_resolved": True,
        "headers": {"Subject": SUBJECT},
    }
    if settings.alert_smtp_user:
        mail["auth_username"] = settings.alert_smtp_user
    if settings.alert_smtp_password:
        mail["auth_password"] = settings.alert_smtp_password.get_secret_value()
    return mail
