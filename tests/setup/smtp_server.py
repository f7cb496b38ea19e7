"""A real SMTP server (aiosmtpd) for the end-to-end tests, which keeps what it receives.

It demands encryption and a login on both ports, one with STARTTLS and one with implicit TLS, and
writes each accepted message to DIRECTORY/N.json: who sent it to whom, over what, the headers, and
the parts with their decoded text, as Python's own mail parser sees them.
"""

import argparse
import email
import email.policy
import itertools
import json
import pathlib
import signal
import ssl

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Keeper:
    """Writes each message to a file of its own, in one step, so that a reader sees all or none."""

    numbers = itertools.count(1)

    def __init__(self, via: str, directory: pathlib.Path, refuse: str, defer: str):
        self.via = via
        self.directory = directory
        self.refuse = refuse
        self.defer = defer
        self.deferred = False

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address == self.refuse:
            return "550 5.1.1 no such mailbox"
        held = (self.directory / "hold").exists()
        if address == self.defer and (held or not self.deferred):
            self.deferred = True
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = [part for part in message.walk() if not part.is_multipart()]
        record = {
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "via": self.via,
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "content_type": message.get_content_type(),
            "headers": {name: str(value) for name, value in message.items()},
            "parts": [
                {"content_type": part.get_content_type(), "text": part.get_content()}
                for part in parts
            ],
        }
        path = self.directory / f"{next(self.numbers)}.json"
        path.with_suffix(".part").write_text(json.dumps(record))
        path.with_suffix(".part").rename(path)
        return "250 2.0.0 kept"


class ImplicitTls(Controller):
    """TLS from the first byte. aiosmtpd counts only STARTTLS as encryption, so the demand for
    encryption before a login must be off here: there is nothing but encryption on this port."""

    def factory(self):
        self.SMTP_kwargs["auth_require_tls"] = False
        return super().factory()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=pathlib.Path, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--refuse", default="", help="an address that gets 550")
    parser.add_argument("--defer", default="", help="an address that gets 451 the first time, and as long as DIRECTORY/hold exists")
    parser.add_argument("--starttls-port", type=int, required=True)
    parser.add_argument("--tls-port", type=int, required=True)
    args = parser.parse_args()

    def authenticate(_server, _session, _envelope, _mechanism, data):
        good = (
            isinstance(data, LoginPassword)
            and data.login.decode() == args.user
            and data.password.decode() == args.password
        )
        return AuthResult(success=good, handled=good, auth_data=data)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.certificate, args.key)
    common = {"hostname": "127.0.0.1", "authenticator": authenticate, "auth_required": True}
    starttls = Controller(
        Keeper("starttls", args.directory, args.refuse, args.defer),
        port=args.starttls_port,
        tls_context=context,
        require_starttls=True,
        **common,
    )
    implicit = ImplicitTls(
        Keeper("tls", args.directory, args.refuse, args.defer),
        port=args.tls_port,
        ssl_context=context,
        **common,
    )
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    starttls.start()
    implicit.start()
    print("ready", flush=True)
    signal.sigwait(stop_signals)
    starttls.stop()
    implicit.stop()


if __name__ == "__main__":
    main()
