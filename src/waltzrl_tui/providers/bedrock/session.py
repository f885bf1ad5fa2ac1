"""AWS clients of one account and region, chosen by the environment."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.network import RouteError, on_this_machine, proxy_of
from waltzrl_tui.providers.bedrock.errors import CREDENTIALS_HINT, TITLE, translating
from waltzrl_tui.providers.errors import (
    AuthError,
    InvalidRequestError,
    SdkMissingError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import ProviderContext

ROLE: Final = "WALTZRL_BEDROCK_ROLE_ARN"
BEARER: Final = "AWS_BEARER_TOKEN_BEDROCK"
_ROLE_ARN: Final = re.compile(r"arn:aws(?:-[^:]+)?:iam::\d{12}:role/\S+")
_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60


class Aws:
    """boto3's clients, made when first used and off the event loop; nothing is sent twice.

    Args:
        name: Of the provider: begins the variables that are its own.
        home: The region where its models are tuned; used where the environment names none.
        region: From an ARN; overrides the environment's.

    Raises:
        SdkMissingError: boto3 is not installed.
    """

    def __init__(self, context: ProviderContext, name: str, home: str, *, region: str = "") -> None:
        try:
            self._boto3: Any = importlib.import_module("boto3")
            self._config: Any = importlib.import_module("botocore.config").Config
        except ImportError as error:
            raise SdkMissingError(
                "The AWS client is not installed.", hint="pip install 'waltzrl-tui[bedrock]'"
            ) from error
        self._context = context
        self._home = home
        self._region = region
        self.region_variable = f"WALTZRL_{name.upper()}_REGION"
        self.bucket_variable = f"WALTZRL_{name.upper()}_BUCKET"
        self._session: Any = None
        self._bearer = False
        self._clients: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._account = ""

    async def ask(
        self, service: str, operation: str, *, effect: bool = False, **wish: Any
    ) -> dict[str, Any]:
        """One request to one of AWS's services, sent once.

        Args:
            effect: It may have changed something there, if its answer was lost.
        """
        client = await self.client(service)
        with translating(effect=effect):
            return dict(await asyncio.to_thread(getattr(client, operation), **wish))

    async def client(self, service: str) -> Any:
        async with self._lock:
            if service not in self._clients:
                with translating():
                    self._clients[service] = await asyncio.to_thread(self._build_client, service)
            return self._clients[service]

    async def region(self) -> str:
        """Where jobs run: by the provider's own variable, AWS's, the profile, or its home."""
        return str((await self.client("bedrock")).meta.region_name)

    async def bearer_only(self) -> bool:
        """Whether there is a Bedrock API key and nothing else: it opens no storage."""
        await self.client("bedrock")
        return self._bearer

    async def account(self) -> str:
        """The number of the account."""
        if not self._account:
            identity = await self.ask("sts", "get_caller_identity")
            with translating():
                self._account = str(identity["Account"])
        return self._account

    async def bucket(self) -> tuple[str, dict[str, str]]:
        """The bucket for files, and the parameters of each request to it.

        One that the user named is taken as it is. Ours has a name that anybody could guess and
        take before us: there every request demands that its owner is this account.
        """
        if named := os.environ.get(self.bucket_variable, "").strip():
            return named, {}
        account = await self.account()
        return f"waltzrl-tui-{account}-{await self.region()}", {"ExpectedBucketOwner": account}

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients = {}

    def _build_client(self, service: str) -> Any:
        if self._session is None:
            self._session = self._open_session()
        if self._bearer and not service.startswith("bedrock"):
            raise AuthError(
                f"A Bedrock API key ({BEARER}) opens neither S3 nor STS, where training files "
                "and their account are.",
                hint=CREDENTIALS_HINT,
            )
        config: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            # A file is read once, as it leaves: S3 checks it against the hash that is signed.
            "s3": {"payload_signing_enabled": False},
        }
        if not self._bearer:
            # Files and jobs must be of one account: an API key beside these may be another's.
            config["auth_scheme_preference"] = "sigv4"
        if self._context.url:
            config["s3"]["addressing_style"] = "path"
        if on_this_machine(self._context.url):
            config["proxies"] = {}  # otherwise the client reads the environment
        client = self._session.client(
            service, endpoint_url=self._context.url or None, config=self._config(**config)
        )
        try:
            proxy_of(client.meta.endpoint_url)
        except RouteError as error:
            raise UnavailableError(
                f"{TITLE} cannot be reached: {error.message}", hint=error.hint
            ) from error
        return client

    def _open_session(self) -> Any:
        key = self._context.key
        settings: dict[str, str] = {}
        if identity := key("AWS_ACCESS_KEY_ID"):
            secret = key("AWS_SECRET_ACCESS_KEY")
            if not secret:
                raise AuthError(
                    f"{TITLE} needs AWS_SECRET_ACCESS_KEY with AWS_ACCESS_KEY_ID.",
                    hint=CREDENTIALS_HINT,
                )
            settings = {"aws_access_key_id": identity, "aws_secret_access_key": secret}
            if token := key("AWS_SESSION_TOKEN"):
                settings["aws_session_token"] = token
        elif profile := key("AWS_PROFILE"):
            settings = {"profile_name": profile}
        elif os.environ.get(BEARER, "").strip():
            self._bearer = True
        else:
            raise AuthError(f"{TITLE} needs AWS credentials.", hint=CREDENTIALS_HINT)
        region = (
            self._region or os.environ.get(self.region_variable) or os.environ.get("AWS_REGION")
        )
        session = self._boto3.Session(region_name=region or None, **settings)
        if session.region_name:
            return session
        return self._boto3.Session(region_name=self._home, **settings)


def role_of(options: Mapping[str, Any]) -> str:
    """The role that Bedrock takes on to read and write the files.

    Raises:
        InvalidRequestError: None is set, or it is not a role; the message says what to set.
    """
    role = str(options.get("role_arn") or os.environ.get(ROLE, "")).strip()
    if _ROLE_ARN.fullmatch(role):
        return role
    raise InvalidRequestError(
        f"{ROLE} is not the ARN of a role." if role else f"{TITLE} needs a service role.",
        hint=f"Set {ROLE} (arn:aws:iam::…:role/…) to a role that trusts bedrock.amazonaws.com "
        "and may s3:GetObject, s3:PutObject and s3:ListBucket on the bucket of the files.",
    )
