"""A Django site with one of two libraries for OpenID Connect: mozilla-django-oidc or django-allauth.

The settings are those of the library's documentation.
"""

import os
import sys
import tempfile

import django
from django.conf import settings

library = sys.argv[1]
issuer = os.environ["ISSUER"]
client_id, client_secret = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]

apps = ["auth", "contenttypes", "sessions", "messages"]
chosen = {
    "mozilla": {
        "INSTALLED_APPS": ["mozilla_django_oidc"],
        "AUTHENTICATION_BACKENDS": ["mozilla_django_oidc.auth.OIDCAuthenticationBackend"],
        "OIDC_RP_CLIENT_ID": client_id,
        "OIDC_RP_CLIENT_SECRET": client_secret,
        "OIDC_RP_SIGN_ALGO": "RS256",  # its default is HS256
        "OIDC_OP_JWKS_ENDPOINT": issuer + "/oauth2/jwks",
        "OIDC_OP_AUTHORIZATION_ENDPOINT": issuer + "/oauth2/authorize",
        "OIDC_OP_TOKEN_ENDPOINT": issuer + "/oauth2/token",
        "OIDC_OP_USER_ENDPOINT": issuer + "/oauth2/userinfo",
    },
    "allauth": {
        "INSTALLED_APPS": [
            "allauth",
            "allauth.account",
            "allauth.socialaccount",
            "allauth.socialaccount.providers.openid_connect",
        ],
        "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
        "SOCIALACCOUNT_LOGIN_ON_GET": True,
        "SOCIALACCOUNT_PROVIDERS": {
            "openid_connect": {
                "OAUTH_PKCE_ENABLED": True,  # binds the request
                "APPS": [
                    {
                        "provider_id": "gatehouse",
                        "name": "Gatehouse",
                        "client_id": client_id,
                        "secret": client_secret,
                        "settings": {"server_url": issuer},
                    }
                ],
            }
        },
    },
}[library]

data = tempfile.TemporaryDirectory()
settings.configure(
    **chosen
    | {
        "INSTALLED_APPS": ["django.contrib." + name for name in apps] + chosen["INSTALLED_APPS"],
        "SECRET_KEY": "a long, randomly-generated string stored in env",
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": __name__,
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": data.name + "/db"}},
        "USE_TZ": True,
        "LOGIN_REDIRECT_URL": "/",
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ]
        + (["allauth.account.middleware.AccountMiddleware"] if library == "allauth" else []),
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
    }
)
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from serving import serve  # noqa: E402


def home(request):
    user = request.user
    return JsonResponse({"signed_in": user.is_authenticated, "email": getattr(user, "email", None)})


urlpatterns = [
    path("", home),
    path("oidc/", include("mozilla_django_oidc.urls" if library == "mozilla" else "allauth.urls")),
]
call_command("migrate", verbosity=0)
serve(WSGIHandler())
