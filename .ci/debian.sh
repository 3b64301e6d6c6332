# Sourced: installs packages on Debian or Raspberry Pi OS, as root or through sudo; fails where it may not.
install_from_debian() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        # -n: a password prompt in the middle of make would look like a hang where nobody types.
        if ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && command -v sudo >/dev/null; }; then
            return 1
        fi
        as_root=(sudo)
    fi
    command -v apt-get >/dev/null || return 1
    echo "Installing $* with apt-get"
    "${as_root[@]}" apt-get update -qq && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"
}
