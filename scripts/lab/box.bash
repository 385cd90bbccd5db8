# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance as a box: an emulated machine that boots the firmware's disk image, with ports in the lab's switches. Sourced by
# scripts/test-image after lib.bash, peers.bash and checks.bash. The emulator is a process of the lab's, so lab_down ends it, and its taps go with it.
#
# The machine: q35 with an IOMMU, so that ports go to vfio as on hardware; two CPUs, of which one is the worker's; 2 GiB; virtio ports at PCI
# slots 4 (outside), 5 (inside) and 6 (management); firmware is a BIOS, or UEFI that enforces secure boot once it has keys (box_uefi).

# Emulated where the CPU says that it does not virtualise; a /dev/kvm alone does not mean that it starts anything.
box_acceleration() {
    if [[ -w /dev/kvm ]] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
        echo kvm
    else
        echo tcg,thread=multi
    fi
}

# box_up DISK [ARGUMENT...]: starts it, and plugs its ports in. Its console is $LAB_DIR/console, what it says there $LAB_DIR/log/console.log.
box_up() {
    local disk=$1 port name slot=4 cpu=max,la57=off mac
    local -a ports=()
    shift
    [[ $(box_acceleration) != kvm ]] || cpu=host
    for port in o i m; do
        printf -v mac '52:54:00:00:00:%02x' $slot
        ports+=(-netdev "tap,id=n$slot,ifname=fg$LAB_TAG$port,script=no,downscript=no"
            -device "virtio-net-pci,netdev=n$slot,mac=$mac,addr=$slot,disable-legacy=on,iommu_platform=on,speed=1000,duplex=full")
        slot=$((slot + 1))
    done
    rm -f "$LAB_DIR"/{console,root,monitor}
    lab_spawn host box nice qemu-system-x86_64 -accel "$(box_acceleration)" -machine q35,kernel-irqchip=split,smm=on -cpu "$cpu" -smp 2 -m 2048 \
        -device intel-iommu,intremap=on,caching-mode=on -nodefaults -no-user-config -display none -vga std \
        -device virtio-rng-pci,addr=8 -drive "if=none,id=disk,file=$disk,format=raw,cache=writeback,discard=unmap" -device virtio-blk-pci,drive=disk,addr=3,bootindex=1 \
        -chardev "socket,id=console,path=$LAB_DIR/console,server=on,wait=off,logfile=$LAB_DIR/log/console.log,logappend=on" -serial chardev:console \
        -chardev "socket,id=root,path=$LAB_DIR/root,server=on,wait=off,logfile=$LAB_DIR/log/root.log,logappend=on" -serial chardev:root \
        -monitor "unix:$LAB_DIR/monitor,server=on,wait=off" "${ports[@]}" "$@"
    lab_wait 20 'the emulator' test -S "$LAB_DIR/monitor"
    for port in o:outsw i:insw m:mgmtsw; do
        name=fg$LAB_TAG${port%:*}
        lab_wait 20 'its port' ip link set dev "$name" up
        lab_plug_tap "$name" "${port#*:}"
    done
}

# box_uefi: arguments of box_up for UEFI, with the variables that it has kept in $LAB_DIR/uefi.
box_uefi() {
    [[ -e $LAB_DIR/uefi ]] || cp /usr/share/OVMF/OVMF_VARS_4M.fd "$LAB_DIR/uefi"
    printf '%s\n' -global driver=cfi.pflash01,property=secure,value=on \
        -drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd \
        -drive "if=pflash,unit=1,format=raw,file=$LAB_DIR/uefi"
}

# box_tpm: arguments of box_up for a TPM 2.0, which keeps what it knows as long as the lab is there.
box_tpm() {
    if [[ ! -e $LAB_DIR/tpm ]]; then
        mkdir "$LAB_DIR/tpm"
        lab_spawn host tpm swtpm socket --tpm2 --tpmstate "dir=$LAB_DIR/tpm" --ctrl "type=unixio,path=$LAB_DIR/tpm.socket"
        lab_wait 10 'the TPM' test -S "$LAB_DIR/tpm.socket"
    fi
    printf '%s\n' -chardev "socket,id=tpm,path=$LAB_DIR/tpm.socket" -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-tis,tpmdev=tpm0
}

# box_off: power off, at once.
box_off() {
    local pid
    pid=$(lab_pid box) || return 0
    kill -KILL "$pid"
    lab_wait 20 'its end' not lab_pid box
}

# box_waited: milliseconds that the emulator's threads were ready and had no CPU, in sum, since it started.
box_waited() {
    local pid
    pid=$(lab_pid box) || { echo 0 && return; }
    cat "/proc/$pid"/task/*/schedstat | awk '{ waited += $2 } END { printf "%d\n", waited / 1e6 }'
}

# box_console SECONDS PROMPT [LINE]: see console.py; what it prints is kept.
box_console() {
    python3 "$LAB_SCRIPTS/console.py" "$LAB_DIR/console" "$@" | tee -a "$LAB_DIR/log/typed.log"
}

# box_prompt SECONDS: until its console's command line is there.
box_prompt() {
    box_console "$1" '[A-Za-z0-9)-]+[>#]' >/dev/null
}

# box_says COMMAND...: what the console answers to a command.
box_says() {
    box_console 600 '[A-Za-z0-9)-]+[>#]' "$*"
}

# box_root COMMAND: what a root shell in it says to a line, on the second serial port (behind the echo of that). No box has one but those of the test (root_shell).
box_root() {
    python3 "$LAB_SCRIPTS/console.py" "$LAB_DIR/root" 600 'box-root#' "$1" | sed '1d; /box-root#/d'
}

# root_shell FOLDER: makes the overlay of an image that has it.
root_shell() {
    mkdir -p "$1/etc/systemd/system/fedgate.target.wants"
    cat >"$1/etc/systemd/system/test-shell.service" <<'UNIT'
[Unit]
DefaultDependencies=no
After=fedgate-control.service

[Service]
Environment=PS1=box-root#
ExecStart=/bin/bash --norc --noediting -i
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
Restart=always
UNIT
    ln -sf ../test-shell.service "$1/etc/systemd/system/fedgate.target.wants/"
}

# box_menu N: takes the N-th line of the boot menu, from 0, of a box that was just switched on.
box_menu() {
    local keys=''
    for ((; ${#keys} < $1; )); do keys+=$'\x0e'; done
    box_console 600 '...Esc for the boot menu' '' >/dev/null && box_console 120 '...Start slot b' $'\e' >/dev/null &&
        box_console 120 '...fedgate: slot' "$keys"$'\r' >/dev/null
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
