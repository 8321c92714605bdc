"""A Flask site that signs people in with Authlib, as Authlib's documentation says."""

import os

from authlib.integrations.flask_client import OAuth
from flask import Flask, jsonify, redirect, session, url_for
from serving import serve

app = Flask(__name__)
app.secret_key = "a long, randomly-generated string stored in env"
oauth = OAuth(app)
oauth.register(
    "gatehouse",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email"},
)


@app.route("/login")
def login():
    return oauth.gatehouse.authorize_redirect(url_for("callback", _external=True))


@app.route("/callback")
def callback():
    token = oauth.gatehouse.authorize_access_token()
    session["user"] = {"claims": token["userinfo"], "info": oauth.gatehouse.userinfo(token=token)}
    return redirect("/")


@app.route("/")
def home():
    return jsonify(session.get("user"))


serve(app)
