/* STM32F405 and F446: 168 MHz from the internal oscillator (RM0090 section 7, RM0390 section 6), UART pins. */
#include "port.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define RCC 0x40023800u
#define RCC_CR REG(RCC + 0x00u)
#define RCC_PLLCFGR REG(RCC + 0x04u)
#define RCC_CFGR REG(RCC + 0x08u)
#define RCC_AHB1ENR REG(RCC + 0x30u)
#define RCC_APB1ENR REG(RCC + 0x40u)
#define RCC_APB2ENR REG(RCC + 0x44u)
#define FLASH_ACR REG(0x40023c00u)
#define GPIOA 0x40020000u
#define GPIOA_MODER REG(GPIOA + 0x00u)
#define GPIOA_PUPDR REG(GPIOA + 0x0cu)
#define GPIOA_AFRL REG(GPIOA + 0x20u)
#define GPIOA_AFRH REG(GPIOA + 0x24u)

/* The bound keeps emulators, whose clock tree always reads 0, from hanging here. */
static int wait_for(volatile uint32_t *where, uint32_t mask, uint32_t value) {
    for (uint32_t tries = 0; tries < 100000u; tries++) {
        if ((*where & mask) == value) {
            return 1;
        }
    }
    return 0;
}

void port_setup(void) {
    RCC_APB1ENR |= 1u << 28;                            /* PWR; its reset value selects voltage scale 1. */
    FLASH_ACR = (7u << 8) | 5u;                         /* Prefetch, caches, 5 wait states (2.7 to 3.6 V). */
    RCC_PLLCFGR = (7u << 24) | (168u << 6) | 8u;        /* 16 MHz / 8 * 168 / 2. */
    RCC_CR |= 1u << 24;
    if (wait_for(&RCC_CR, 1u << 25, 1u << 25)) {
        RCC_CFGR = (4u << 13) | (5u << 10) | 2u;        /* APB2 / 2, APB1 / 4, system clock from the PLL. */
        (void)wait_for(&RCC_CFGR, 3u << 2, 2u << 2);
    }
    RCC_AHB1ENR |= 1u;
#if defined(USART2_PA2_PA3)
    RCC_APB1ENR |= 1u << 17;
    GPIOA_MODER = (GPIOA_MODER & ~(0xfu << 4)) | (0xau << 4);
    GPIOA_PUPDR = (GPIOA_PUPDR & ~(0xfu << 4)) | (0x5u << 4);
    GPIOA_AFRL = (GPIOA_AFRL & ~(0xffu << 8)) | (0x77u << 8);
#elif defined(USART1_PA9_PA10)
    RCC_APB2ENR |= 1u << 4;
    GPIOA_MODER = (GPIOA_MODER & ~(0xfu << 18)) | (0xau << 18);
    GPIOA_PUPDR = (GPIOA_PUPDR & ~(0xfu << 18)) | (0x5u << 18);
    GPIOA_AFRH = (GPIOA_AFRH & ~(0xffu << 4)) | (0x77u << 4);
#else
#error "name the USART's pins"
#endif
}
