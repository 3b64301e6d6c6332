"""Proves that an image holds no instruction its core lacks: emulators accept more than the silicon does.

QEMU's Cortex-M3, for one, executes some DSP instructions. The image is disassembled and every mnemonic has to be in the
list of those the core has (Armv6-M, Armv7-M, Armv8-M, Helium and RISC-V unprivileged architecture manuals); what is
not listed is an offence, known or not.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from multigraft.errors import ConversionError
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.boards.toolchain import toolchain_of


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONDITIONS = _words("eq ne cs hs cc lo mi pl vs vc hi ls ge lt gt le al")

_V6M = _words(
    """adc adcs add adds adr and ands asr asrs b bic bics bkpt bl blx bx cmn cmp cpsid cpsie dmb dsb eor eors isb ldm
    ldmia ldr ldrb ldrh ldrsb ldrsh lsl lsls lsr lsrs mov movs mrs msr mul muls mvn mvns neg negs nop orr orrs pop
    push rev rev16 revsh ror rors rsb rsbs sbc sbcs sev stm stmia str strb strh sub subs svc sxtb sxth tst udf uxtb
    uxth wfe wfi yield"""
)
_V6M_LONG = _words("bl dmb dsb isb mrs msr udf")
"""The only 32-bit encodings of Armv6-M."""

_V7M = _V6M | _words(
    """addw bfc bfi cbnz cbz clrex clz dbg ldmdb ldrbt ldrd ldrex ldrexb ldrexh ldrht ldrsbt ldrsht ldrt mla mls movt
    movw orn orns pld pli rbit rrx rrxs sbfx sdiv smlal smull ssat stmdb strbt strd strex strexb strexh strht strt
    subw tbb tbh teq ubfx udiv umlal umull usat"""
)
_DSP = _words(
    """pkhbt pkhtb qadd qadd16 qadd8 qasx qdadd qdsub qsax qsub qsub16 qsub8 sadd16 sadd8 sasx sel shadd16 shadd8 shasx
    shsax shsub16 shsub8 smlabb smlabt smlatb smlatt smlad smladx smlalbb smlalbt smlaltb smlaltt smlald smlaldx
    smlawb smlawt smlsd smlsdx smlsld smlsldx smmla smmlar smmls smmlsr smmul smmulr smuad smuadx smulbb smulbt
    smultb smultt smulwb smulwt smusd smusdx ssat16 ssax ssub16 ssub8 sxtab sxtab16 sxtah sxtb16 uadd16 uadd8 uasx
    uhadd16 uhadd8 uhasx uhsax uhsub16 uhsub8 umaal uqadd16 uqadd8 uqasx uqsax uqsub16 uqsub8 usad8 usada8 usat16
    usax usub16 usub8 uxtab uxtab16 uxtah uxtb16"""
)
_FPV4 = _words(
    """vabs vadd vcmp vcmpe vcvt vcvtb vcvtr vcvtt vdiv vfma vfms vfnma vfnms vldm vldmia vldmdb vldr vmla vmls vmov
    vmrs vmsr vmul vneg vnmla vnmls vnmul vpop vpush vsqrt vstm vstmia vstmdb vstr vsub"""
)
_FPV5 = _FPV4 | _words(
    """vcvta vcvtm vcvtn vcvtp vmaxnm vminnm vrinta vrintm vrintn vrintp vrintr vrintx vrintz vseleq vselge vselgt
    vselvs"""
)
_MVE = _FPV5 | _words(
    """vabav vabd vadc vadci vaddlv vaddlva vaddv vaddva vand vbic vbrsr vcadd vcls vclz vcmla vcmul vctp vddup vdup
    vdwdup veor vfmas vhadd vhcadd vhsub vidup viwdup vld20 vld21 vld40 vld41 vld42 vld43 vldrb vldrd vldrh vldrw vmax
    vmaxa vmaxav vmaxnma vmaxnmav vmaxnmv vmaxv vmin vmina vminav vminnma vminnmav vminnmv vminv vmladav vmladava
    vmladavax vmladavx vmlaldav vmlaldava vmlaldavax vmlaldavx vmlalv vmlalva vmlas vmlav vmlava vmlsdav vmlsdava
    vmlsdavax vmlsdavx vmlsldav vmlsldava vmlsldavax vmlsldavx vmovlb vmovlt vmovnb vmovnt vmulh vmullb vmullt vmvn
    vorn vorr vpnot vpsel vqabs vqadd vqdmladh vqdmladhx vqdmlah vqdmlash vqdmlsdh vqdmlsdhx vqdmulh vqdmullb vqdmullt
    vqmovnb vqmovnt vqmovunb vqmovunt vqneg vqrdmladh vqrdmladhx vqrdmlah vqrdmlash vqrdmlsdh vqrdmlsdhx vqrdmulh
    vqrshl vqrshrnb vqrshrnt vqrshrunb vqrshrunt vqshl vqshlu vqshrnb vqshrnt vqshrunb vqshrunt vqsub vrev16 vrev32
    vrev64 vrhadd vrint vrmlaldavh vrmlaldavha vrmlaldavhax vrmlaldavhx vrmlalvh vrmlalvha vrmlsldavh vrmlsldavha
    vrmlsldavhax vrmlsldavhx vrmulh vrshl vrshr vrshrnb vrshrnt vsbc vsbci vshl vshlc vshllb vshllt vshr vshrnb vshrnt
    vsli vsri vst20 vst21 vst40 vst41 vst42 vst43 vstrb vstrd vstrh vstrw"""
)
_V8M = _words(
    """bxns blxns lda ldab ldah ldaex ldaexb ldaexh sg stl stlb stlh stlex stlexb stlexh tt tta ttat ttt vlldm vlstm"""
)
_V81M = _words(
    """asrl bf bfcsel bfl bflx bfx cinc cinv clrm cneg csel cset csetm csinc csinv csneg dls dlstp lctp le letp lsll
    lsrl sqrshr sqrshrl sqshl sqshll srshr srshrl uqrshl uqrshll uqshl uqshll urshr urshrl vscclrm wls wlstp"""
)

_RV32I = _words(
    """lui auipc jal jalr beq bne blt bge bltu bgeu lb lh lw lbu lhu sb sh sw addi slti sltiu xori ori andi slli srli
    srai add sub sll slt sltu xor srl sra or and fence fence.i ecall ebreak csrrw csrrs csrrc csrrwi csrrsi csrrci
    mret wfi"""
)
_RV32M = _words("mul mulh mulhsu mulhu div divu rem remu")
_RV32C = _words(
    """c.addi4spn c.lw c.sw c.nop c.addi c.jal c.li c.addi16sp c.lui c.srli c.srai c.andi c.sub c.xor c.or c.and c.j
    c.beqz c.bnez c.slli c.lwsp c.jr c.mv c.ebreak c.jalr c.add c.swsp"""
)

_LINE = re.compile(r"^\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(\S+)(?:\s+(.*))?$")


@dataclass(frozen=True)
class Offence:
    """An instruction that the core lacks."""

    address: int
    text: str


def check_instructions(core: CoreFeatures, image: Path) -> list[Offence]:
    """All instructions of an image or object file that ``core`` lacks; empty is the proof.

    Raises:
        MissingDependencyError: The toolchain is missing.
        ConversionError: The file is no image, or holds no instruction at all.
    """
    offences, count = [], 0
    for address, code, mnemonic, operands in _disassembled(core, image):
        if mnemonic in (".word", ".short", ".byte") or int(code, 16) == 0:
            continue
        count += 1
        if mnemonic == "@" and core.architecture == "arm":
            mnemonic, operands = _alone(core, code)
        if not _has(core, mnemonic, operands, len(code) // 2):
            offences.append(Offence(address, f"{mnemonic} {operands}".strip()))
    if count == 0:
        raise ConversionError(f"{image} holds no instruction", "build it again")
    return offences


def _disassembled(core: CoreFeatures, image: Path) -> list[tuple[int, str, str, str]]:
    """Address, encoding, mnemonic and operands of everything in executable sections."""
    options = ["-M", "no-aliases"] if core.architecture == "riscv" else ["-marmv8.1-m.main"]
    command = [toolchain_of(core).tool("objdump"), "-d", "-w", *options, str(image)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ConversionError(f"{image} cannot be disassembled: {done.stderr.strip()}", "build it again")
    matches = (_LINE.match(line) for line in done.stdout.splitlines())
    return [(int(f[1], 16), f[2].replace(" ", ""), f[3], f[4] or "") for f in matches if f]


def _alone(core: CoreFeatures, code: str) -> tuple[str, str]:
    """An encoding disassembled on its own: in listings objdump 2.40 may take LSLL behind an IT block for undefined."""
    with tempfile.TemporaryDirectory() as name:
        image = Path(name) / "one.o"
        command = [toolchain_of(core).tool("gcc"), *core.gcc_flags, "-c", "-x", "assembler", "-", "-o", str(image)]
        text = f".thumb\n.inst.{'w' if len(code) == 8 else 'n'} 0x{code}\n"
        subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=True)
        return _disassembled(core, image)[0][2:]


def _has(core: CoreFeatures, mnemonic: str, operands: str, length: int) -> bool:
    if core.architecture == "riscv":
        return mnemonic in _RV32I | _RV32M | _RV32C
    base, _, kind = mnemonic.partition(".")
    if core.name in ("Cortex-M0", "Cortex-M0+"):
        short = length == 2 and (base in _V6M or _condition_of(base, frozenset("b")))
        return short or (length == 4 and base in _V6M_LONG)
    if base.startswith("v") and base not in _V8M | _V81M:
        return _has_vector(base) if core.mve else core.fpu and _has_float(core, base, kind, operands)
    known = _V7M | (_DSP if core.dsp else frozenset())
    if core.name in ("Cortex-M33", "Cortex-M55"):
        known |= _V8M
    if core.mve:
        known |= _V81M
    return base in known or re.fullmatch("it[te]{0,3}", base) is not None or _condition_of(base, known)


def _has_vector(base: str) -> bool:
    """In a VPT block a mnemonic ends in T or E."""
    blocks = re.fullmatch("v(pst|pt)[te]{0,3}", base) is not None
    return blocks or base in _MVE or (base[-1] in "te" and base[:-1] in _MVE) or _condition_of(base, _MVE)


def _has_float(core: CoreFeatures, base: str, kind: str, operands: str) -> bool:
    """Single precision only: of doubles these cores move the bits and nothing else; integers are only converted."""
    known = _FPV4 if core.name == "Cortex-M4" else _FPV5
    types = set(kind.split(".")) - {""}
    integers = {"s16", "u16", "s32", "u32"} if base.startswith("vcvt") else set()
    if types - {"f32", "f16", "32"} - integers or re.search(r"\bq\d", operands):
        return False
    return base in known or _condition_of(base, known)


def _condition_of(base: str, known: frozenset[str]) -> bool:
    return base[-2:] in _CONDITIONS and base[:-2] in known
