/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU: its run loop, what the kernel leaves to us, and how others get its attention.
 *
 * An exit that is served here costs one system call, the next KVM_RUN, and takes no
 * lock but the device's own (memory/dispatch.c).
 */
#include "accel/kvm/kvm.h"
#include "util/log.h"
#include "util/trace.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

TRACE_EVENT(kvm_exit, "cpu %u reason %u")

static bool is_bsp(const CPUX86 *cpu)
{
    if (cpu->apic_ops && cpu->apic_ops->get_base) {
        return cpu->apic_ops->get_base(cpu->apic) >> 8 & 1;
    }
    return cpu->index == 0;
}

/* ---- attention ---- */

void kvm_kick(Vcpu *v)
{
    KvmCpu *kc = kvm_cpu(v);

    if (!kc) {
        return;
    }
    /* Pairs with enter(): the request was noted before; either it sees it, or this. */
    __atomic_store_n(&kc->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (vcpu_current() != v && __atomic_load_n(&kc->in_run, __ATOMIC_SEQ_CST)) {
        pthread_kill(v->thread, SIGUSR1);
    }
}

static void leave_guest(KvmCpu *kc)
{
    Kvm *k = kc->kvm;

    __atomic_store_n(&kc->in_run, false, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&k->inhibit, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&k->inhibit_lock);
        pthread_cond_broadcast(&k->inhibit_cond);
        pthread_mutex_unlock(&k->inhibit_lock);
    }
}

static void enter_guest(KvmCpu *kc)
{
    Kvm *k = kc->kvm;

    __atomic_store_n(&kc->in_run, true, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&k->inhibit, __ATOMIC_SEQ_CST)) {
        leave_guest(kc);
        pthread_mutex_lock(&k->inhibit_lock);
        while (k->inhibit) {
            pthread_cond_wait(&k->inhibit_cond, &k->inhibit_lock);
        }
        pthread_mutex_unlock(&k->inhibit_lock);
        __atomic_store_n(&kc->in_run, true, __ATOMIC_SEQ_CST);
    }
}

void kvm_inhibit_begin(Kvm *k)
{
    pthread_mutex_lock(&k->inhibit_lock);
    __atomic_store_n(&k->inhibit, true, __ATOMIC_SEQ_CST);
    for (guint i = 0; i < k->cpus->len; i++) {
        KvmCpu *kc = k->cpus->pdata[i];

        while (__atomic_load_n(&kc->in_run, __ATOMIC_SEQ_CST)) {
            kvm_kick(kc->vcpu);
            pthread_cond_wait(&k->inhibit_cond, &k->inhibit_lock);
        }
    }
    pthread_mutex_unlock(&k->inhibit_lock);
}

void kvm_inhibit_end(Kvm *k)
{
    pthread_mutex_lock(&k->inhibit_lock);
    __atomic_store_n(&k->inhibit, false, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&k->inhibit_cond);
    pthread_mutex_unlock(&k->inhibit_lock);
}

/* ---- accesses ---- */

static MemAttrs attrs_of(const KvmCpu *kc)
{
    return (MemAttrs){.requester = 0xffff, .smm = kc->vcpu->cpu.smm};
}

static uint64_t load(const uint8_t *p, unsigned size)
{
    return size == 1 ? *p : size == 2 ? ld_le16(p) : size == 4 ? ld_le32(p) : ld_le64(p);
}

static void access_ports(KvmCpu *kc)
{
    const struct kvm_run *run = kc->run;
    uint8_t *p = (uint8_t *)kc->run + run->io.data_offset;
    AddressSpace *io = kc->vcpu->cpu.as_io;
    unsigned size = run->io.size;

    for (uint32_t i = 0; i < run->io.count; i++, p += size) {
        uint64_t v;

        if (run->io.direction == KVM_EXIT_IO_OUT) {
            address_space_st(io, run->io.port, MEM_ATTRS_NONE, size, load(p, size));
        } else {
            v = UINT64_MAX;
            address_space_ld(io, run->io.port, MEM_ATTRS_NONE, size, &v);
            memcpy(p, &v, size);
        }
    }
}

static void access_memory(KvmCpu *kc)
{
    struct kvm_run *run = kc->run;
    AddressSpace *as = cpu_as(&kc->vcpu->cpu);
    unsigned len = run->mmio.len;
    uint64_t v = UINT64_MAX;

    if (!IS_POWER_OF_2(len) || len > 8) {
        len = MIN(len, 8u);
        if (run->mmio.is_write) {
            address_space_write(as, run->mmio.phys_addr, attrs_of(kc), run->mmio.data, len);
        } else {
            memset(run->mmio.data, 0xff, len);
            address_space_read(as, run->mmio.phys_addr, attrs_of(kc), run->mmio.data, len);
        }
    } else if (run->mmio.is_write) {
        address_space_st(as, run->mmio.phys_addr, attrs_of(kc), len, load(run->mmio.data, len));
    } else {
        address_space_ld(as, run->mmio.phys_addr, attrs_of(kc), len, &v);
        memcpy(run->mmio.data, &v, len);
    }
}

/* ---- interrupts from user space ---- */

/* With the APIC, or only the 8259s, in user space: gives the CPU its interrupt if it can take one. */
static void offer_interrupt(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_run *run = kc->run;

    if (!(__atomic_load_n(&cpu->irq_pending, __ATOMIC_SEQ_CST) & IRQ_HARD)) {
        run->request_interrupt_window = 0;
        return;
    }
    if (run->ready_for_interrupt_injection && cpu->apic_ops) {
        int vector = cpu->apic_ops->ack_interrupt(cpu->apic);
        struct kvm_interrupt irq = {.irq = (uint32_t)vector};

        if (vector >= 0) {
            cpu->halted = false;
            kvm_ioctl(kc->fd, KVM_INTERRUPT, &irq);
        }
    }
    run->request_interrupt_window =
        __atomic_load_n(&cpu->irq_pending, __ATOMIC_SEQ_CST) & IRQ_HARD ? 1 : 0;
}

static void before_run(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    Kvm *k = kc->kvm;

    if (k->irqchip != KVM_IRQCHIP_MODE_ON) {
        offer_interrupt(kc);
    }
    if (!kvm_kernel_apic(k) && cpu->apic_ops) {
        kc->run->cr8 = cpu->apic_ops->get_tpr(cpu->apic) >> 4;
    }
}

static void after_run(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;

    cpu->smm = kc->run->flags & KVM_RUN_X86_SMM;
    if (!kvm_kernel_apic(kc->kvm) && cpu->apic_ops) {
        if (cpu->apic_ops->get_tpr(cpu->apic) >> 4 != kc->run->cr8) {
            cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(kc->run->cr8 << 4));
        }
        if (cpu->apic_ops->get_base(cpu->apic) != kc->run->apic_base) {
            cpu->apic_ops->set_base(cpu->apic, kc->run->apic_base);
        }
    }
}

/* ---- requests ---- */

static bool take_init(KvmCpu *kc, uint32_t irq)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    Error *err = NULL;

    if (!kvm_get_state(kc, &err)) {
        error_report(err);
        return false;
    }
    kc->dirty = true;
    if (irq & IRQ_INIT) {
        cpu_interrupt_clear(cpu, IRQ_INIT);
        cpu_init_signal(cpu, is_bsp(cpu));
    } else {
        cpu_interrupt_clear(cpu, IRQ_SIPI);
        cpu_sipi(cpu, cpu->sipi_vector);
    }
    return true;
}

/* The banks of the machine check have been set in CPUX86 by whoever injects it. */
static bool take_mce(KvmCpu *kc, RunExit *exit)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    bool again = cpu->mce_again;
    Error *err = NULL;

    cpu_interrupt_clear(cpu, IRQ_MCE);
    if (!kvm_get_state(kc, &err)) {
        error_report(err);
        return false;
    }
    kc->dirty = true;
    cpu->mce_again = false;
    if (again || !(cpu->cr4 & CR4_MCE)) {
        *exit = RUN_EXIT_SHUTDOWN; /* one during another, or to a guest that takes none */
        return false;
    }
    cpu->exception_vector = EXC_MC;
    cpu->exception_has_error = false;
    cpu->halted = false;
    return true;
}

/* false: stop running, *exit says why. */
static bool serve_requests(KvmCpu *kc, uint32_t irq, RunExit *exit)
{
    CPUX86 *cpu = &kc->vcpu->cpu;

    *exit = RUN_EXIT_ERROR;
    cpu_interrupt_clear(cpu, irq & (IRQ_TLB_FLUSH | IRQ_POLL));
    if (irq & (IRQ_EXIT | IRQ_RESET)) {
        *exit = RUN_EXIT_INTERRUPTED;
        return false;
    }
    if (irq & IRQ_MCE) {
        if (!take_mce(kc, exit)) {
            return false;
        }
    }
    if ((irq & IRQ_INIT) && !take_init(kc, IRQ_INIT)) {
        return false;
    }
    if ((irq & IRQ_SIPI) && !cpu->wait_for_sipi) {
        cpu_interrupt_clear(cpu, IRQ_SIPI); /* nobody waited for it: lost, as on the chip */
    } else if ((irq & IRQ_SIPI) && !take_init(kc, IRQ_SIPI)) {
        return false;
    }
    if (!kvm_kernel_apic(kc->kvm) && cpu->wait_for_sipi) {
        return true;
    }
    /* The state first: it would overwrite what is injected now. */
    if ((irq & (IRQ_SMI | IRQ_NMI)) && kc->dirty) {
        Error *err = NULL;

        if (!kvm_put_state(kc, &err)) {
            error_report(err);
            return false;
        }
    }
    if (irq & IRQ_SMI) {
        cpu_interrupt_clear(cpu, IRQ_SMI);
        if (kc->kvm->smm) {
            kvm_ioctl(kc->fd, KVM_SMI, NULL);
            cpu->halted = false;
        }
    }
    if (irq & IRQ_NMI) {
        cpu_interrupt_clear(cpu, IRQ_NMI);
        kvm_ioctl(kc->fd, KVM_NMI, NULL);
        cpu->halted = false;
    }
    return true;
}

/* With the APIC in user space, so is HLT: is there something to go on for? */
static bool still_halted(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;

    if (kvm_kernel_apic(kc->kvm) || (!cpu->halted && !cpu->wait_for_sipi)) {
        return false;
    }
    if (cpu->wait_for_sipi) {
        return true;
    }
    if (kc->run->if_flag) {
        kc->run->ready_for_interrupt_injection = 1;
        offer_interrupt(kc);
    }
    return cpu->halted;
}

/* ---- exits ---- */

/* By way of Hyper-V's crash registers. The guest goes on, until somebody stops the machine. */
static void guest_crashed(KvmCpu *kc)
{
    Vcpu *v = kc->vcpu;
    uint64_t p[5] = {0};

    if (kvm_get_state(kc, NULL)) {
        kvm_hyperv_crash(kc, p);
    }
    if (v->hooks && v->hooks->crashed) {
        v->hooks->crashed(v->hooks_opaque, v, hyperv_crash_info(p));
    }
}

static bool system_event(KvmCpu *kc, RunExit *exit)
{
    switch (kc->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
    case KVM_SYSTEM_EVENT_RESET:
        *exit = RUN_EXIT_SHUTDOWN;
        return false;
    case KVM_SYSTEM_EVENT_CRASH:
        guest_crashed(kc);
        return true;
    default:
        kvm_report_exit(kc, "a system event");
        *exit = RUN_EXIT_ERROR;
        return false;
    }
}

/* true: go on. */
static bool handle_exit(KvmCpu *kc, RunExit *exit)
{
    struct kvm_run *run = kc->run;
    Kvm *k = kc->kvm;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        access_ports(kc);
        kc->complete = true;
        return true;
    case KVM_EXIT_MMIO:
        access_memory(kc);
        kc->complete = true;
        return true;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_INTR:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_X86_BUS_LOCK:
        return true;
    case KVM_EXIT_HLT:
        kc->vcpu->cpu.halted = true;
        return true;
    case KVM_EXIT_IOAPIC_EOI:
        if (k->eoi) {
            k->eoi(k->eoi_opaque, run->eoi.vector);
        }
        return true;
    case KVM_EXIT_DIRTY_RING_FULL:
        kvm_dirty_ring_reap(k);
        return true;
    case KVM_EXIT_SHUTDOWN:
        *exit = RUN_EXIT_SHUTDOWN;
        return false;
    case KVM_EXIT_DEBUG:
        *exit = RUN_EXIT_DEBUG;
        return !kvm_debug_exit(kc);
    case KVM_EXIT_HYPERV:
        if (kvm_hyperv_exit(kc)) {
            return true;
        }
        kvm_report_exit(kc, NULL);
        *exit = RUN_EXIT_ERROR;
        return false;
    case KVM_EXIT_SYSTEM_EVENT:
        return system_event(kc, exit);
    default:
        kvm_report_exit(kc, NULL);
        *exit = RUN_EXIT_ERROR;
        return false;
    }
}

/* KVM_RUN failed. true: go on. */
static bool handle_failure(KvmCpu *kc, int err, RunExit *exit)
{
    switch (err) {
    case EINTR:
    case EAGAIN: /* an AP that was started */
        return true;
    case EFAULT:
        kvm_report_exit(kc, "memory that the kernel cannot reach (EFAULT)");
        break;
    default:
        report_error("kvm: running CPU %u failed: %s", kc->vcpu->cpu.index, g_strerror(err));
        break;
    }
    *exit = RUN_EXIT_ERROR;
    return false;
}

/* The kernel finishes the instruction whose access was served, and comes back at once. */
static void finish_access(KvmCpu *kc)
{
    if (kc->complete) {
        kc->complete = false;
        __atomic_store_n(&kc->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        ioctl(kc->fd, KVM_RUN, 0);
    }
}

RunExit kvm_run(Vcpu *v)
{
    KvmCpu *kc = kvm_cpu(v);
    CPUX86 *cpu = &v->cpu;
    RunExit exit = RUN_EXIT_ERROR;

    if (kc->debug_stale || v->step || kc->debugging) {
        kvm_debug_update(kc);
    }
    for (;;) {
        uint32_t irq;
        int ret;

        __atomic_store_n(&kc->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        irq = __atomic_load_n(&cpu->irq_pending, __ATOMIC_SEQ_CST);
        if (irq & ~IRQ_HARD) {
            finish_access(kc);
            __atomic_store_n(&kc->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
            if (!serve_requests(kc, irq, &exit)) {
                break;
            }
        }
        if (kc->dirty) {
            Error *err = NULL;

            if (!kvm_put_state(kc, &err)) {
                error_report(err);
                exit = RUN_EXIT_ERROR;
                break;
            }
        }
        if (still_halted(kc)) {
            exit = RUN_EXIT_HALTED;
            break;
        }
        before_run(kc);
        kc->complete = kc->synced = false;
        enter_guest(kc);
        ret = ioctl(kc->fd, KVM_RUN, 0) < 0 ? errno : 0;
        leave_guest(kc);
        after_run(kc);
        kvm_flush_coalesced(kc);
        trace(kvm_exit, cpu->index, ret ? UINT_MAX : kc->run->exit_reason);
        if (!(ret ? handle_failure(kc, ret, &exit) : handle_exit(kc, &exit))) {
            break;
        }
    }
    finish_access(kc);
    return exit;
}

/* ---- state ---- */

bool kvm_sync_out(Vcpu *v, Error **errp)
{
    KvmCpu *kc = kvm_cpu(v);

    if (!kc || kc->dirty || kc->synced || !kc->started) {
        return true;
    }
    if (!kvm_get_state(kc, errp)) {
        return false;
    }
    kc->synced = true;
    return true;
}

bool kvm_sync_in(Vcpu *v, Error **errp)
{
    KvmCpu *kc = kvm_cpu(v);

    if (kc) {
        kc->dirty = true; /* written when the vCPU runs next, on its own thread */
    }
    return true;
}

/* ---- life ---- */

static bool map_run(KvmCpu *kc, Error **errp)
{
    Kvm *k = kc->kvm;

    kc->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kc->fd, 0);
    if (kc->run == MAP_FAILED) {
        kc->run = NULL;
        error_set_errno(errp, errno, "cannot map the kernel's page of CPU %u", kc->vcpu->cpu.index);
        return false;
    }
    if (k->dirty_ring) {
        size_t size = (size_t)k->dirty_ring * sizeof(struct kvm_dirty_gfn);
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, kc->fd,
                       KVM_DIRTY_LOG_PAGE_OFFSET * 4096l);

        if (p == MAP_FAILED) {
            error_set_errno(errp, errno, "cannot map the dirty ring of CPU %u",
                            kc->vcpu->cpu.index);
            return false;
        }
        kc->ring = p;
    }
    return true;
}

static void unblock_kick(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool kvm_vcpu_create(Accel *a, Vcpu *v, Error **errp)
{
    Kvm *k = a->data;
    KvmCpu *kc = g_new0(KvmCpu, 1);
    int khz;

    kc->kvm = k;
    kc->vcpu = v;
    v->cpu.engine = kc;
    kc->fd = ioctl(k->vm, KVM_CREATE_VCPU, (unsigned long)v->cpu.config.apic_id);
    if (kc->fd < 0) {
        error_set_errno(errp, errno, "the kernel cannot create CPU %u (APIC ID %u)", v->cpu.index,
                        v->cpu.config.apic_id);
        kvm_vcpu_destroy(v);
        return false;
    }
    if (!map_run(kc, errp)) {
        kvm_vcpu_destroy(v);
        return false;
    }
    kc->xsave = aligned_alloc(64, ALIGN_UP(k->xsave_size, 64u));
    if (!kc->xsave) {
        error_set(errp, "out of memory for CPU %u", v->cpu.index);
        kvm_vcpu_destroy(v);
        return false;
    }
    memset(kc->xsave, 0, k->xsave_size);
    kvm_nested_create(kc);
    khz = ioctl(kc->fd, KVM_GET_TSC_KHZ, 0);
    if (v->cpu.config.tsc_hz && khz > 0 &&
        llabs((long long)(v->cpu.config.tsc_hz / 1000) - khz) > khz / 4000 &&
        ioctl(kc->fd, KVM_SET_TSC_KHZ, (unsigned long)(v->cpu.config.tsc_hz / 1000)) < 0) {
        report_warning("kvm: the kernel cannot give the guest's time stamp counter %llu kHz; it "
                       "counts with the host's %d",
                       (unsigned long long)v->cpu.config.tsc_hz / 1000, khz);
        v->cpu.config.tsc_hz = 0;
    }
    if (!v->cpu.config.tsc_hz && khz > 0) {
        v->cpu.config.tsc_hz = (uint64_t)khz * 1000;
    }
    kc->dirty = true;
    unblock_kick();
    g_ptr_array_add(k->cpus, kc);
    return true;
}

void kvm_vcpu_destroy(Vcpu *v)
{
    KvmCpu *kc = kvm_cpu(v);
    Kvm *k;

    if (!kc) {
        return;
    }
    k = kc->kvm;
    g_ptr_array_remove(k->cpus, kc);
    if (kc->ring) {
        munmap(kc->ring, (size_t)k->dirty_ring * sizeof(struct kvm_dirty_gfn));
    }
    if (kc->run) {
        munmap(kc->run, k->run_size);
    }
    if (kc->fd >= 0) {
        close(kc->fd);
    }
    free(kc->xsave);
    kvm_nested_destroy(kc);
    v->cpu.engine = NULL;
    g_free(kc);
}
