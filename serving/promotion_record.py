"""The version that may be in production: the one of the last signed decision.

Decisions stand in `ops.promotions`; each file is compared.
"""

from pathlib import Path

from readmit import db
from readmit.inference import signatures
from readmit.inference.signatures import NotSigned, Statement
from serving.api_settings import ServingSettings
from serving.bundle_loader import ModelRefused, Version

# Files without which a bundle cannot be checked; the compiled form's own are listed by its
# statement.
REQUIRED = ("contract.json", "examples.json", "report.json")
QUERY = """
    select signed_statement from ops.decisions_in_force
    where model_name = %s and version = %s
    order by promotion_id desc limit 1
"""


class NotBacked(ModelRefused):
    """The alias names a version that no signed decision put in production.

    The next check may find such a decision.
    """


class PromotionRecord:
    """Verifies versions with the public key and the decisions in Postgres."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings

    def check_decision(self, version: Version) -> Statement:
        """Return what was signed when this version was put in production.

        Raises:
            NotBacked: no decision in force names the version.
            ModelRefused: the statement is not signed with our key, or is about another version.
            psycopg2.OperationalError: Postgres cannot be reached.
        """
        with (
            db.transaction("serving", self._settings.clean_database, self._settings) as clean,
            clean.cursor() as cur,
        ):
            cur.execute(QUERY, (version.name, version.version))
            row = cur.fetchone()
        if row is None:
            raise NotBacked(
                f"version {version.version} has the alias, but no signed decision put it in"
                " production"
            )
        return self._verify(str(row[0]), version)

    def check_files(
        self, version: Version, folder: Path, statement: Statement | None = None
    ) -> None:
        """Compare a bundle with what was signed.

        Args:
            version: the version that the bundle is said to be.
            folder: its files.
            statement: from `check_decision`; None takes the statement that lies beside the files.

        Raises:
            ModelRefused: a file is missing, was not signed, or is another.
        """
        if statement is None:
            path = folder / signatures.FILE_NAME
            if not path.is_file():
                raise ModelRefused(f"version {version.version} was never signed")
            statement = self._verify(path.read_text(encoding="utf-8"), version)
        try:
            signatures.check_files(statement, folder, REQUIRED)
        except NotSigned as error:
            raise ModelRefused(str(error)) from error

    def _verify(self, document: str, version: Version) -> Statement:
        key = self._settings.model_public_key
        if not key:
            raise ModelRefused("READMIT_MODEL_PUBLIC_KEY is not set: no model can be verified")
        try:
            statement = signatures.verify(document, key)
        except NotSigned as error:
            raise ModelRefused(f"version {version.version}: {error}") from error
        if (statement.model, statement.version) != (version.name, version.version):
            raise ModelRefused(
                f"version {version.version}: its signature is about {statement.model}"
                f" {statement.version}"
            )
        return statement
