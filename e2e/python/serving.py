"""How the sites here are served: on a free port, which the first line of the output names."""

from wsgiref.simple_server import make_server


def serve(app):
    server = make_server("127.0.0.1", 0, app)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
