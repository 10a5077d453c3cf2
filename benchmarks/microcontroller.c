/* A network on a bare Cortex-M4: no operating system; the host hears through semihosting.
   Built by benchmarks/microcontroller.py, which defines NETWORK (the exported file, then `inputs` of
   CASES sequences of STEPS steps), TIMED, and CLASSES where the classes are to be told. */

#include NETWORK

extern uint32_t stack_top, data_from, data_start, data_end, bss_start, bss_end;
int main(void);
void start(void);

static void host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void say(uint32_t number)
{
    char text[12];
    int place = 11;
    text[11] = '\0';
    do {
        text[--place] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    host(4, text + place);
    host(4, "\n");
}

/* The stack is painted, to see how much of it was used. */
void start(void)
{
    uint32_t *p, *here = (uint32_t *)__builtin_frame_address(0) - 16;
    const uint32_t *q = &data_from;
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the floating-point unit on */
    __asm__ volatile("dsb; isb");
    for (p = &data_start; p < &data_end;)
        *p++ = *q++;
    for (p = &bss_start; p < &bss_end;)
        *p++ = 0;
    for (p = &bss_end; p < here;)
        *p++ = 0xA5A5A5A5u;
    main();
    for (p = &bss_end; *p == 0xA5A5A5A5u;)
        p++;
    say((uint32_t)((char *)&stack_top - (char *)p)); /* bytes of stack */
    host(0x18, (const void *)0x20026);               /* the end, without an error */
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void *const vectors[2] = { &stack_top, (void *)start };

/* Tells of each case the outputs of its steps as the bits of float32, or with CLASSES the number of
   the class after its last step; then the instructions of TIMED steps. */
int main(void)
{
    net_state state;
    volatile uint32_t *tick = (volatile uint32_t *)0xE000E010;
    uint32_t t, before;
    float y[NET_OUTPUTS];
    for (t = 0; t < CASES * STEPS; t++) {
        if (t % STEPS == 0)
            net_reset(&state);
        net_step(&state, inputs[t], y);
#ifdef CLASSES
        if (t % STEPS == STEPS - 1)
            say(net_class(y));
#else
        for (uint32_t i = 0; i < NET_OUTPUTS; i++) {
            uint32_t bits;
            memcpy(&bits, y + i, sizeof bits);
            say(bits);
        }
#endif
    }
    tick[1] = 0xFFFFFF;
    tick[2] = 0;
    tick[0] = 5; /* counts down, a tick for 40 instructions under -icount shift=0 */
    before = tick[2];
    for (t = 0; t < TIMED; t++)
        net_step(&state, inputs[t % (CASES * STEPS)], y);
    say((before - tick[2]) & 0xFFFFFF);
    return 0;
}
