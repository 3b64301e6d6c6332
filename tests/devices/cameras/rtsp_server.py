"""An RTSP camera for tests, by GStreamer's RTSP server: H.264 pictures that carry their number.

Debian's python3 runs this file, as it has GStreamer's bindings: ``rtsp_server.py PORT TRANSPORT FPS [USER:PASSWORD]``,
where TRANSPORT is ``tcp`` or ``udp``, and no other is offered. It prints ``ready`` once it listens.
"""

from __future__ import annotations

import sys
from typing import Any

BITS, BAR, HEIGHT, RED_ROWS = 12, 16, 96, 32
"""A bar for each bit of the number, the first is the highest; below them a red strip."""
RED = (200, 40, 40)
WIDTH = BITS * BAR


def picture(number: int) -> bytes:
    """RGB, height x width x 3."""
    bars = b"".join((b"\xff" if number >> bit & 1 else b"\x00") * 3 * BAR for bit in reversed(range(BITS)))
    return bars * (HEIGHT - RED_ROWS) + bytes(RED) * WIDTH * RED_ROWS


def main(port: str, transport: str, fps: str, login: str = "") -> None:
    """Serve until killed."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer.new(), GstRtspServer.RTSPMediaFactory.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory.set_shared(True)
    factory.set_protocols({"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}[transport])
    factory.set_launch(
        f"appsrc name=pictures is-live=true do-timestamp=true format=time "
        f"caps=video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={fps}/1 ! videoconvert ! "
        f"openh264enc gop-size=5 bitrate=2000000 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
    )

    def configure(_: Any, media: Any) -> None:
        source = media.get_element().get_by_name("pictures")
        number, ended = 0, list[bool]()
        media.connect("unprepared", lambda _: ended.append(True))

        def push() -> bool:
            nonlocal number
            number += 1
            # Refused while one client leaves and the next one comes; then it goes on.
            source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(number)))
            return not ended

        GLib.timeout_add(1000 // int(fps), push)

    factory.connect("media-configure", configure)
    if login:
        user, _, password = login.partition(":")
        auth = GstRtspServer.RTSPAuth.new()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken.new()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(user, password, token)
        server.set_auth(auth)
        rights = "viewer, media.factory.access=(bool)true, media.factory.construct=(bool)true"
        factory.add_role_from_structure(Gst.Structure.from_string(rights)[0])
    server.get_mount_points().add_factory("/door", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
