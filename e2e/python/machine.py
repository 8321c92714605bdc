"""A machine that gets a token with a client assertion, by Authlib, and a service that verifies it, by PyJWT."""

import json
import os

import jwt
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

issuer = os.environ["ISSUER"]
endpoint = issuer + "/oauth2/token"

session = OAuth2Session(
    os.environ["CLIENT_ID"],
    open(os.environ["PRIVATE_KEY"]).read(),
    token_endpoint_auth_method=PrivateKeyJWT(endpoint),
)
token = session.fetch_token(endpoint, grant_type="client_credentials")["access_token"]

key = jwt.PyJWKClient(issuer + "/oauth2/jwks").get_signing_key_from_jwt(token)
print(json.dumps(jwt.decode(token, key, algorithms=["ES256", "RS256"], issuer=issuer, audience=issuer)))
