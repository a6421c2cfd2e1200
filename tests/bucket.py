"""A bucket on a real S3 server of our own, which can be away for a while and come back with all it had."""

import boto3
from moto.server import ThreadedMotoServer

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
NAME = "runs"


class Bucket:
    """Its server keeps what it has in this process, whether it listens or not."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()
        self.client = boto3.client(
            "s3", endpoint_url=f"http://{self.host}:{self.port}", region_name="us-east-1", **KEYS
        )
        self.client.create_bucket(Bucket=NAME)

    def url(self, run: str, port: int | None = None) -> str:
        """Of a run folder, as pyarrow reads it; by way of another port of this machine."""
        return f"s3://{NAME}/{run}?endpoint_override={self.host}:{port or self.port}&scheme=http&region=us-east-1"

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=NAME, Key=key)["Body"].read()
        return body

    def stop(self) -> None:
        """Nobody listens from now on: connections are refused."""
        self._server.stop()

    def start(self) -> None:
        """Listen again, where it was."""
        self._server = ThreadedMotoServer(ip_address=self.host, port=self.port, verbose=False)
        self._server.start()
