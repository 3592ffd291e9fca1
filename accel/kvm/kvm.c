/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine "kvm": options, what the kernel can do, creation and end. */
#include "accel/kvm/kvm.h"

#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Three pages near 4 GiB that KVM needs on hosts without real mode for guests. */
#define IDENTITY_MAP 0xfeffc000ull
#define TSS_PAGES 0xfeffd000ull

static const char *const irqchip_names[] = {"on", "off", "split", NULL};

typedef struct KvmAccel {
    Accel parent;
    int irqchip;
    uint32_t dirty_ring_size;
    uint64_t shadow_mem;
    char *device;
} KvmAccel;

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int r;

    do {
        r = ioctl(fd, request, arg);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int kvm_check(const Kvm *k, int cap)
{
    int r = ioctl(k->vm >= 0 ? k->vm : k->fd, KVM_CHECK_EXTENSION, cap);

    return r < 0 ? 0 : r;
}

/* ---- capabilities ---- */

#define CAP(c, loss)                     \
    {                                    \
        KVM_CAP_##c, "KVM_CAP_" #c, loss \
    }
static const KvmCapability capabilities[] = {
    CAP(USER_MEMORY, NULL),
    CAP(DESTROY_MEMORY_REGION_WORKS, NULL),
    CAP(JOIN_MEMORY_REGIONS_WORKS, NULL),
    CAP(SYNC_MMU, NULL),
    CAP(EXT_CPUID, NULL),
    CAP(SET_TSS_ADDR, NULL),
    CAP(MP_STATE, NULL),
    CAP(IMMEDIATE_EXIT, NULL),
    CAP(VCPU_EVENTS, NULL),
    CAP(XSAVE, NULL),
    CAP(XCRS, NULL),
    CAP(DEBUGREGS, NULL),
    CAP(IRQCHIP, "kernel-irqchip=on: interrupt controllers work in user space"),
    CAP(SPLIT_IRQCHIP, "kernel-irqchip=split"),
    CAP(READONLY_MEM, "ROM runs slowly: every access to it leaves the guest"),
    CAP(PIT2, "the interval timer in the kernel: its ports leave the guest"),
    CAP(PIT_STATE2, "the interval timer in the kernel, for want of its state"),
    CAP(REINJECT_CONTROL, "-global kvm-pit.lost_tick_policy=discard"),
    CAP(IRQ_ROUTING, "interrupts by eventfd, kernel-irqchip=split"),
    CAP(IRQFD, "interrupts of devices by eventfd"),
    CAP(IOEVENTFD, "doorbells of virtio by eventfd"),
    CAP(SIGNAL_MSI, "message-signalled interrupts with kernel-irqchip"),
    CAP(COALESCED_MMIO, "writes to video memory that need not leave the guest one by one"),
    CAP(COALESCED_PIO, "put-off writes to ports"),
    CAP(X86_SMM, "system-management mode: smm=off, so no Secure Boot protection in firmware"),
    CAP(MULTI_ADDRESS_SPACE, "system-management mode's own memory"),
    CAP(ADJUST_CLOCK, "kvm-clock runs on while the machine stands still"),
    CAP(KVMCLOCK_CTRL, "guests' soft-lockup detectors may complain after a pause"),
    CAP(TSC_CONTROL, "-cpu tsc-frequency= other than the host's"),
    CAP(GET_TSC_KHZ, "the guest is not told the frequency of its time stamp counter"),
    CAP(MCE, "machine-check exceptions"),
    CAP(SET_GUEST_DEBUG, "break- and watchpoints of the gdb stub"),
    CAP(SREGS2, "PAE page-directory pointers in snapshots"),
    CAP(XSAVE2, "vector state of more than 4 KiB"),
    CAP(EXCEPTION_PAYLOAD, "exact CR2 and DR6 of exceptions pending in snapshots"),
    CAP(X86_TRIPLE_FAULT_EVENT, "a triple fault pending in a snapshot"),
    CAP(NESTED_STATE, "snapshots of guests that run guests"),
    CAP(DIRTY_LOG_RING, "-accel kvm,dirty-ring-size="),
    CAP(MANUAL_DIRTY_LOG_PROTECT2, "migration stops the guest longer at its start"),
    CAP(SYS_HYPERV_CPUID, "-cpu hv-*: Hyper-V enlightenments"),
    CAP(STEAL_TIME, "the guest does not see time stolen by the host"),
    CAP(ASYNC_PF, "the guest waits while the host reads its memory from swap"),
    CAP(X2APIC_API, "APIC IDs above 255"),
};

const KvmCapability *kvm_capabilities(unsigned *n)
{
    *n = ARRAY_LEN(capabilities);
    return capabilities;
}

static bool probe(Kvm *k, Error **errp)
{
    for (unsigned i = 0; i < ARRAY_LEN(capabilities); i++) {
        const KvmCapability *c = &capabilities[i];

        if (kvm_check(k, c->cap)) {
            continue;
        }
        if (!c->loss) {
            error_set(errp, "the kernel's KVM lacks %s, which Rhea needs", c->name);
            return false;
        }
        g_array_append_val(k->missing, i);
        LOG(LOG_UNIMP, "kvm: the kernel lacks %s: without it goes %s\n", c->name, c->loss);
    }
    k->readonly_mem = kvm_check(k, KVM_CAP_READONLY_MEM) > 0;
    k->block_irqs = kvm_check(k, KVM_CAP_SET_GUEST_DEBUG2) & (int)KVM_GUESTDBG_BLOCKIRQ;
    k->intr_shadow = kvm_check(k, KVM_CAP_INTR_SHADOW) > 0;
    k->mce = kvm_check(k, KVM_CAP_MCE) > 0;
    k->sregs2 = kvm_check(k, KVM_CAP_SREGS2) > 0;
    k->clock_ctrl = kvm_check(k, KVM_CAP_KVMCLOCK_CTRL) > 0;
    k->adjust_clock = kvm_check(k, KVM_CAP_ADJUST_CLOCK) > 0;
    k->signal_msi = kvm_check(k, KVM_CAP_SIGNAL_MSI) > 0;
    k->smm = kvm_check(k, KVM_CAP_X86_SMM) > 0 && kvm_check(k, KVM_CAP_MULTI_ADDRESS_SPACE) > 1;
    k->coalesced_page = (unsigned)kvm_check(k, KVM_CAP_COALESCED_MMIO);
    k->coalesced_pio = kvm_check(k, KVM_CAP_COALESCED_PIO) > 0;
    k->max_slots = (unsigned)MAX(kvm_check(k, KVM_CAP_NR_MEMSLOTS), 32);
    k->max_slots = MIN(k->max_slots, 64 * (unsigned)ARRAY_LEN(k->slot_ids));
    k->xsave_size = (uint32_t)kvm_check(k, KVM_CAP_XSAVE2);
    k->xsave2_large = k->xsave_size > sizeof(struct kvm_xsave);
    k->xsave_size = MAX(k->xsave_size, (uint32_t)sizeof(struct kvm_xsave));
    k->nested_size = (uint32_t)kvm_check(k, KVM_CAP_NESTED_STATE);
    return true;
}

static bool enable(Kvm *k, int cap, uint64_t arg)
{
    struct kvm_enable_cap e = {.cap = (uint32_t)cap, .args = {arg}};

    return kvm_ioctl(k->vm, KVM_ENABLE_CAP, &e) >= 0;
}

/* What helps if it is there and changes nothing for the rest of Rhea. */
static void enable_options(Kvm *k)
{
    uint64_t ids = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;

    k->exception_payload =
        kvm_check(k, KVM_CAP_EXCEPTION_PAYLOAD) > 0 && enable(k, KVM_CAP_EXCEPTION_PAYLOAD, 1);
    k->triple_fault = kvm_check(k, KVM_CAP_X86_TRIPLE_FAULT_EVENT) > 0 &&
                      enable(k, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
    if (kvm_kernel_apic(k) && kvm_check(k, KVM_CAP_X2APIC_API) > 0) {
        enable(k, KVM_CAP_X2APIC_API, ids);
    }
}

static bool setup_dirty_log(Kvm *k, uint32_t entries, Error **errp)
{
    uint64_t bytes = (uint64_t)entries * sizeof(struct kvm_dirty_gfn);
    int acq_rel = kvm_check(k, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
    int max = acq_rel > 0 ? acq_rel : kvm_check(k, KVM_CAP_DIRTY_LOG_RING);

    if (!entries) {
        return true;
    }
    if (!IS_POWER_OF_2(entries) || entries < 1024) {
        error_set(errp, "dirty-ring-size=%u is not a power of two from 1024 on", entries);
        return false;
    }
    if (max <= 0) {
        report_warning("kvm: the kernel has no dirty ring; written pages are found by bitmaps");
        return true;
    }
    if (bytes > (uint64_t)max) {
        error_set(errp, "dirty-ring-size=%u is more than the kernel allows, %zu", entries,
                  (size_t)max / sizeof(struct kvm_dirty_gfn));
        return false;
    }
    k->dirty_ring_acq_rel = acq_rel > 0;
    if (!enable(k, acq_rel > 0 ? KVM_CAP_DIRTY_LOG_RING_ACQ_REL : KVM_CAP_DIRTY_LOG_RING, bytes)) {
        report_warning("kvm: the kernel refuses the dirty ring; written pages are found by "
                       "bitmaps");
        return true;
    }
    k->dirty_ring = entries;
    return true;
}

/* ---- creation ---- */

static bool open_device(Kvm *k, const char *path, Error **errp)
{
    int version;

    k->fd = open(path, O_RDWR | O_CLOEXEC);
    if (k->fd < 0) {
        error_set_errno(errp, errno, "cannot open %s", path);
        if (errno == ENOENT) {
            error_hint(errp, "is virtualization switched on in the firmware's setup, and the "
                             "module kvm_intel or kvm_amd loaded?\n");
        } else if (errno == EACCES) {
            error_hint(errp, "add the user to the group that owns %s, usually kvm\n", path);
        }
        error_hint(errp, "-accel tcg needs no KVM; -accel kvm -accel tcg falls back to it\n");
        return false;
    }
    version = ioctl(k->fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        error_set(errp, "%s speaks version %d of the KVM interface, not %d", path, version,
                  KVM_API_VERSION);
        return false;
    }
    return true;
}

static bool create_vm(Kvm *k, Error **errp)
{
    uint64_t identity = IDENTITY_MAP;
    int size;

    k->vm = kvm_ioctl(k->fd, KVM_CREATE_VM, NULL);
    if (k->vm < 0) {
        error_set_errno(errp, -k->vm, "the kernel cannot create a virtual machine");
        if (k->vm == -EBUSY) {
            error_hint(errp, "another hypervisor may be using the processor's virtualization\n");
        }
        return false;
    }
    size = ioctl(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run)) {
        error_set(errp, "the kernel's shared page of a vCPU has the impossible size %d", size);
        return false;
    }
    k->run_size = (size_t)size;
    kvm_ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity); /* optional before Linux 2.6.32 */
    if (ioctl(k->vm, KVM_SET_TSS_ADDR, (unsigned long)TSS_PAGES) < 0) {
        error_set_errno(errp, errno, "the kernel refuses its pages at 0x%llx", TSS_PAGES);
        return false;
    }
    return true;
}

/* The signal only ends KVM_RUN. */
static void on_kick(int sig)
{
}

static void setup_signal(void)
{
    struct sigaction sa = {.sa_handler = on_kick};

    sigaction(SIGUSR1, &sa, NULL);
}

static void kvm_destroy(Accel *accel)
{
    Kvm *k = accel->data;

    if (!k) {
        return;
    }
    g_assert(k->cpus->len == 0);
    kvm_memory_stop(k);
    kvm_memory_fini(k);
    kvm_irqchip_fini(k);
    if (k->vm >= 0) {
        close(k->vm);
    }
    if (k->fd >= 0) {
        close(k->fd);
    }
    g_array_unref(k->missing);
    g_ptr_array_unref(k->cpus);
    g_free(k->msrs);
    g_free(k->cpuid);
    pthread_mutex_destroy(&k->inhibit_lock);
    pthread_cond_destroy(&k->inhibit_cond);
    g_free(k);
    accel->data = NULL;
    accel->irqchip = NULL;
    accel->no_smm = NULL;
}

static bool create_parts(Kvm *k, KvmAccel *a, Error **errp)
{
    if (!open_device(k, a->device ? a->device : "/dev/kvm", errp) || !create_vm(k, errp) ||
        !probe(k, errp)) {
        return false;
    }
    if (a->shadow_mem &&
        ioctl(k->vm, KVM_SET_NR_MMU_PAGES, (unsigned long)(a->shadow_mem / 4096)) < 0) {
        error_set_errno(errp, errno, "kvm-shadow-mem=%llu is refused by the kernel",
                        (unsigned long long)a->shadow_mem);
        return false;
    }
    k->irqchip = (KvmIrqchipMode)a->irqchip;
    if (!kvm_irqchip_create(k, errp)) {
        return false;
    }
    enable_options(k);
    return setup_dirty_log(k, a->dirty_ring_size, errp) && kvm_read_cpuid(k, errp) &&
           kvm_read_msr_list(k, errp);
}

static bool kvm_create(Accel *accel, MemorySystem *mem, Error **errp)
{
    KvmAccel *a = (KvmAccel *)accel;
    Kvm *k = g_new0(Kvm, 1);

    k->accel = accel;
    k->fd = k->vm = -1;
    k->missing = g_array_new(FALSE, FALSE, sizeof(unsigned));
    k->cpus = g_ptr_array_new();
    pthread_mutex_init(&k->inhibit_lock, NULL);
    pthread_cond_init(&k->inhibit_cond, NULL);
    kvm_memory_init(k);
    accel->data = k;
    accel->mem = mem;
    if (!create_parts(k, a, errp)) {
        kvm_destroy(accel);
        return false;
    }
    if (!k->smm) {
        accel->no_smm = "the kernel's KVM has none (KVM_CAP_X86_SMM)";
    }
    setup_signal();
    return true;
}

/* ---- the rest ---- */

/* kvm-clock must not run while the machine stands still. */
static void kvm_running(Accel *accel, bool run)
{
    Kvm *k = accel->data;
    struct kvm_clock_data c = {0};

    if (run) {
        /* Only now that the board is whole: each slot on the way there would cost a wait. */
        kvm_memory_start(k);
    }
    if (k->pit_running) {
        k->pit_running(k->pit_opaque, run);
    }
    if (!k->adjust_clock) {
        return;
    }
    if (!run) {
        k->clock_valid = kvm_ioctl(k->vm, KVM_GET_CLOCK, &c) >= 0;
        k->clock = c.clock;
        return;
    }
    if (k->clock_valid) {
        c.clock = k->clock;
        k->clock_valid = false;
        kvm_ioctl(k->vm, KVM_SET_CLOCK, &c);
    }
    for (guint i = 0; k->clock_ctrl && i < k->cpus->len; i++) {
        /* Refused if the guest does not use it: nothing to tell then. */
        kvm_ioctl(((KvmCpu *)k->cpus->pdata[i])->fd, KVM_KVMCLOCK_CTRL, NULL);
    }
}

static void kvm_info(Accel *accel, GString *out)
{
    Kvm *k = accel->data;

    g_string_append_printf(out, "kvm: kernel-irqchip=%s, %s\n", irqchip_names[k->irqchip],
                           k->dirty_ring ? "dirty ring" : "dirty bitmaps");
    for (guint i = 0; i < k->missing->len; i++) {
        const KvmCapability *c = &capabilities[g_array_index(k->missing, unsigned, i)];

        g_string_append_printf(out, "the kernel lacks %s: without it goes %s\n", c->name, c->loss);
    }
}

static const Property kvm_props[] = {
    PROPERTY_ENUM(
        "kernel-irqchip", KvmAccel, irqchip, irqchip_names, KVM_IRQCHIP_MODE_ON,
        "interrupt controllers in the kernel: on (all, and the PIT), split (local APICs), off"),
    PROPERTY_U32("dirty-ring-size", KvmAccel, dirty_ring_size, 0,
                 "entries of each vCPU's ring of written pages; 0: bitmaps"),
    PROPERTY_SIZE("kvm-shadow-mem", KvmAccel, shadow_mem, 0,
                  "memory for shadow page tables; 0: the kernel's choice"),
    PROPERTY_STRING("device", KvmAccel, device, "the device file; /dev/kvm"),
    {0},
};

static const AccelClass kvm_class = {
    .name = "kvm",
    .create = kvm_create,
    .destroy = kvm_destroy,
    .vcpu_create = kvm_vcpu_create,
    .vcpu_destroy = kvm_vcpu_destroy,
    .run = kvm_run,
    .kick = kvm_kick,
    .sync_out = kvm_sync_out,
    .sync_in = kvm_sync_in,
    .info = kvm_info,
    .debug_changed = kvm_debug_changed,
    .debug_check = kvm_debug_check,
    .cpu_engine = kvm_cpu_engine,
    .running = kvm_running,
    .eventfds = true,
};

OBJECT_TYPE(kvm_accel_type, .name = "kvm-accel", .parent = TYPE_ACCEL,
            .help = "runs guest code on the host's processor", .size = sizeof(KvmAccel),
            .klass = &kvm_class, .props = kvm_props)
