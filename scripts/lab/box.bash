# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance as a box: an emulated machine that boots the firmware's disk image, with ports in the lab's switches. Sourced by
# scripts/test-image after lib.bash, peers.bash and checks.bash. The emulator is a process of the lab's, so lab_down ends it, and its taps go with it.
#
# The machine: q35 with an IOMMU, so that ports go to vfio as on hardware; two CPUs, of which one is the worker's; 2 GiB; virtio ports at PCI
# slots 4 (outside) and 5 (inside), 6 (management).

# Emulated where the CPU says that it does not virtualise; a /dev/kvm alone does not mean that it starts anything.
box_acceleration() {
    if [[ -w /dev/kvm ]] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
        echo kvm
    else
        echo tcg,thread=multi
    fi
}

# box_up DISK [ARGUMENT...]: starts it, and plugs its ports into outsw and insw. Its console is $LAB_DIR/console, what it says there
# $LAB_DIR/log/console.log.
box_up() {
    local disk=$1 port name slot=4 cpu=max mac
    local -a ports=()
    shift
    [[ $(box_acceleration) != kvm ]] || cpu=host
    for port in o:outsw i:insw; do
        name=fg$LAB_TAG${port%:*}
        printf -v mac '52:54:00:00:00:%02x' $slot
        ports+=(-netdev "tap,id=n$slot,ifname=$name,script=no,downscript=no"
            -device "virtio-net-pci,netdev=n$slot,mac=$mac,addr=$slot,disable-legacy=on,iommu_platform=on,speed=1000,duplex=full")
        slot=$((slot + 1))
    done
    rm -f "$LAB_DIR/console" "$LAB_DIR/monitor"
    lab_spawn host box nice qemu-system-x86_64 -accel "$(box_acceleration)" -machine q35,kernel-irqchip=split -cpu "$cpu" -smp 2 -m 2048 \
        -device intel-iommu,intremap=on,caching-mode=on -nodefaults -no-user-config -display none -vga std \
        -device virtio-rng-pci,addr=8 -drive "if=none,id=disk,file=$disk,format=raw,cache=writeback,discard=unmap" -device virtio-blk-pci,drive=disk,addr=3,bootindex=1 \
        -chardev "socket,id=console,path=$LAB_DIR/console,server=on,wait=off,logfile=$LAB_DIR/log/console.log,logappend=on" -serial chardev:console \
        -monitor "unix:$LAB_DIR/monitor,server=on,wait=off" "${ports[@]}" "$@"
    lab_wait 20 'the emulator' test -S "$LAB_DIR/monitor"
    for port in o:outsw i:insw; do
        lab_wait 20 'its port' ip link set dev "fg$LAB_TAG${port%:*}" up
        lab_plug_tap "fg$LAB_TAG${port%:*}" "${port#*:}"
    done
}

# box_monitor COMMAND: for the emulator.
box_monitor() {
    socat -t 1 - "UNIX-CONNECT:$LAB_DIR/monitor" <<<"$1" >>"$LAB_DIR/log/monitor.log"
}

# box_prompt SECONDS: until its console's command line is there.
box_prompt() {
    python3 "$LAB_SCRIPTS/console.py" "$LAB_DIR/console" "$1" '[A-Za-z0-9-]+[>#]' >>"$LAB_DIR/log/prompt.log"
}

# box_says COMMAND...: what the console answers to a command.
box_says() {
    python3 "$LAB_SCRIPTS/console.py" "$LAB_DIR/console" 600 '[A-Za-z0-9-]+[>#]' "$*"
}

# box_answers LINE PROMPT [SECONDS]: types a line, and waits for something else than the command line.
box_answers() {
    python3 "$LAB_SCRIPTS/console.py" "$LAB_DIR/console" "${3:-30}" "$2" "$1"
}

# make_stick FILE FOLDER LABEL MIB: a USB stick with the files of the folder on it.
make_stick() {
    rm -f "$1"
    truncate -s "$4M" "$1"
    mkfs.vfat -n "$3" "$1" >/dev/null
    mcopy -i "$1" -s "$2"/* ::
}

# with_sticks FILE...: arguments of box_up.
with_sticks() {
    local stick number=0
    printf '%s\n' -device qemu-xhci,addr=9
    for stick; do
        printf '%s\n' -drive "if=none,id=stick$number,file=$stick,format=raw,readonly=on" -device "usb-storage,drive=stick$number"
        number=$((number + 1))
    done
}
