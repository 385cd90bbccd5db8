# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# How the lab's scripts say what they expected and what they saw, and end with a verdict: non-zero if anything differed
# or nothing was checked. Sourced by scripts/demo and scripts/lab/selftest.

passed=0 failed=0

# check WHAT COMMAND...: expects the command to succeed.
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        printf '  ok    %s\n' "$what"
    else
        failed=$((failed + 1))
        printf '  FAIL  %s\n' "$what"
    fi
}

# same WHAT EXPECTED SEEN
same() {
    check "$1: expected ${2:-nothing}, seen ${3:-nothing}" test "$2" = "$3"
}

# more WHAT FLOOR SEEN: expects a number above the floor.
more() {
    check "$1: expected more than $2, seen ${3:-nothing}" above "$2" "$3"
}

above() {
    [[ $2 =~ ^[0-9]+$ ]] && (($2 > $1))
}

not() {
    ! "$@"
}

# verdict: the last line, and the script's exit code.
verdict() {
    printf '%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0 && passed > 0))
}
