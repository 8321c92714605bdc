"""Asks Cerbos' own SDK for decisions over HTTP and gRPC, at the addresses of a sidecar."""

import os

from cerbos.engine.v1 import engine_pb2
from cerbos.sdk.client import CerbosClient
from cerbos.sdk.grpc.client import CerbosClient as GRPCClient
from cerbos.sdk.model import Principal, Resource
from google.protobuf.struct_pb2 import Value

peter = Principal("peter", roles={"employee"})
for owner in ("peter", "samir"):
    with CerbosClient(os.environ["CERBOS_HTTP"]) as client:
        http = client.is_allowed("view", peter, Resource("report", "document", attr={"owner": owner}))
    with GRPCClient(os.environ["CERBOS_GRPC"], tls_verify=False) as client:
        grpc = client.is_allowed(
            "view",
            engine_pb2.Principal(id="peter", roles={"employee"}),
            engine_pb2.Resource(id="report", kind="document", attr={"owner": Value(string_value=owner)}),
        )
    print(owner, http, grpc)
