"""A small binary network with a known answer, run in a child process on an interpreter that the delegate never met.

The delegate lays hands on structs of the interpreter whose layout it was compiled with. Where a field lies elsewhere,
this network crashes, is refused, or has another answer: it takes all operators in three subgraphs, so that every field
that the delegate reads or writes is used.

Made by ``tests/runtime/delegate/canary_model.py``; a test holds that this is still what its code makes.
"""

from __future__ import annotations

import base64
import resource
import signal
import sys
import zlib

import numpy as np

from multigraft.errors import MultigraftError
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.child import StuckError, begin_step, run_watched
from multigraft.runtime.delegate.library import load
from multigraft.tensors.arrays import Array

_PACKED = (
    "c-qxidt6gT7M`1g5HM(}h^*3r=qjzO76czvpu7YXU8z_=QAkM$!H^&cpe_|xP|%8Rt*cf=t%6mmqNrO5g%(#=>}subt;$+oRq6xXu7W(W=iEDYbB"
    "*Y_|84X89lkqr&zzY#^UXJNaU+DpjENfROx%boaV82PCo+OR36u!b5%M-e$RwzY0ZZ*ch?sEpC0Hu!Nl3ZHVi5t#!LXe-m=r8UXHc4qgfP@^68PE"
    "CXRMn;tnVhaSuA}0Y|>RQ8VQuRdSQHwW7KN&MnQ~yFNt6NOngEr|7Ef8@%(7K<W!|rFX&6gjzGeW!r=vRrR~qg?E>azPsnXZNElcXyf_9{1m+CZ1"
    "n;B3ylDF|w7mlC&jzRJNc;H#!M*02yChvO<4U9m-p?x>VLsNhsmf&7T2<yhp$gwGqVHGW_|J$)(#*pTTQ3a$gtRNGT!+O4ZwcPu)VsCjapU@debx"
    "nu^hbx*wjc99+nD5Ey4}-0|4rqC;N&go7ix+I<dwBnM$Y}@aYCkcV)BZbJF9AqW~b#%N5tJ$womPN$6Rr-_RH9QE=|GA_t7oKFD`ceMgI4i9UD(h"
    "S2}Jl*69Nu9&OxvEnl;w|Bhb%pKH!V{smJ@26S-a!+b`AO{Vkbe`DzTB+Oym_1-w?-xbXpJ|1vT(VbC40N;<!o)in%((ig%F5n+46F&P9@WWa8t}"
    "6jgZo6>&D&Wpy-*}Ae^fYBaG2p|HdZsVn{C)Mq{b+xcv_B899eP=Hi}Z{+Qz@@L(Dq%B<+o`;ao#1>;Y+VpA2=XEij!Lc|J|n|12?@sB+z6?HIJP"
    "+uqxon+R>q9$EzA^7n;q*k%8#%V&VMX#l1BzM}oZAe4HsnoDuOE(tu3+hvY-_^)dLZ#BybM#azTqIaMi$%lhRnVCZ;LXuJZNzZkITxR)?@xNpG5Q"
    "N+1V0Q)^y0`(sYHkFpK&3O7e1uT~OL<(YJ{7@Qa0`+^Jwu7NqtScvF_lA`6*aQ9~Ifc3x!E=86vZSv7dw-WZ`w?K)YT|`^SR6b2R5JP=_R}>0uDa"
    "tpc`f$c>~ggY{ZB8-!tqwwmF&fJACPxyMg-<X?9+_=o-y;Veh^@VGR@Qv&{P@`e**A>Lj@yG0p5*~);0s4**AUz#`!6({|wZnr1$DlaXl`?F5F)V"
    "c(kDVWQ@D^&_|j(fE&}grv+hoUY%zEpgt%6XVf<HPnioa{<zZR4yX^=`Bj^dN0(lIt>G46n0;93e!y*_Fh3{c#~0ePvzXtf^7R`5d)7vsSPZ!Q?5"
    "L%~03B-z`s_o^QAsN?Z)Y~hqcHDfpU!PV?Fh`PxDpTex8V*N?62H>ExinR9y~r~J77clsnyqToeR%~+`znscTwRy3tdk<sKoKr=|jtr*WvY*m@oA"
    "d$5FTr(wK_<Zh#+^{naoMut&h8x;JpXZXSJZ;y!up;M#n^do%7W{S<K5KUY-_#=SbIG*=0@;N+bnsQEX&b5Ab8_3af=g=8OOe<<P`!0m5EoX7aS;"
    "`61$ah+DiCL{v7FWz+t>yIw<IDZ7NEmTp5{{7o(8(WYEL)<mp0OPs`u1?2%l<bMd{w_&1c7MQmj?hlU{jT1zX$*?Vf{d1LLomM)`N=&2-<tSn<qx"
    "Ret4EGS{-oO%yP+O@vu8@kPRzUiAwOK#(14WP$d7=AA^yJs{IO}#4{69ZpOK@#z&w8)oQ3@;#d+g?2Fx{l6}JrY_5I>u$OBP8+q!C;f1kl-<g3Fv"
    "uiLxu{f;?Bs6*#8$F5`}pQ}AZ!PxJ;!Y7!&l4z%9<loMAW!NQLcl(3o$dfZmj3vmUBZIsdoWFYA^y{c!@m`r-x8k0h)wjkI&zUXGu6fx1{pF{x;6"
    "6<}@bP6F=fV4GT#v6;<UH7nXFzo?&kEGN2{lVQ@GQ8$O^iIezHitn<j=q*pP!BctT&DD#C~pEj&ethh(CR@V>fDZa9a=57yp=PXI%ip_qO?>Hn@i"
    "!(l=tBHkDop2W(#0aIXjIR`ITn9|DdleBk{jJa;|cJA(Rt(=A~p?z4+|)5ewn&T_vMiu&QI4Y+)c)d>l!75oq9paY^8iRc;q)MCMPM$Wi`0J?#BF"
    "x<Oz?r0{M&#P2(!dfgAJQs0K9i(UQR_+|v>(x4AA~aEHbxM=gpifLyYc;8+#1v(+$&hKS&e5t&seElpmQk%rglBCw_ckR<pNtPAL#ay4R_e0UMto"
    "Fh^%`O{WolJw8kaAz;fQQOjxuWKo1Q&ojO<+ohs7`w`cw30E9|H-bWUPAC)8M9n3s&6nT)^)MLR(mbp-QtgU%iKI)cUuX=C-8k<t4Dd&e>8v)>ln"
    "WyFHMYnwTL?AMXrjU4$lLq5<d1$Vjo0$&HZW{Us#rf2C)+6<jmok;|DrN>XWHVXD`#r{ODbe>$h6s^w0wUJQc$A>W*o>=?DwhB7`3}y06wd(mfiR"
    "k@`&w*TUPqXz!-VScJ@-GrzM&aGphJWa*V7NP@f*pn<y{SsrT*+y@*k-LT#xJeE0={|yJsC!1%U6jFUoG^9^Ssvjzwvc66z&4zS*)Y?Z;bz_<N39"
    "kBUmeuV7(e!p65bm{1yq;BKxV8fA+N9v%EE>W~z;;2A#@C1pFu$w3EI9Z+Y(Vw(jYx@s{Vjh;?&ec}1*yg&nmEP3w#J%*XIz-MR|C>$vYIp5H5=l"
    "Qm%LMbGjZpW~n|gR$!Do{nDuZ~HO~%Um1YIta8@O4nUR`CDM&=B1*#DWdmZZZ-KHX^HFc6$WJ&<U7E<yB%XE5)qMz9gCw?^Z7MW*nDp*C=dVdwV{"
    ")<>}A@3`pA7tbNcu)op2D8(RU5~hQ1AzYrqn~`cqz((r-rWdw08ae|mGx9Z&<-v~#+opmCe&xbWFIJTQRQ3!hHT18n!L#kz0pY|cX;!Fed7`_-B4"
    "N#5yxmD4_idgIf{If-rGuvq6K?nG~VZ1hGZ$R*}qYUx}XGYke@XJ<dQdB^f<ddlx5Y;#;NPSGpsX<wQv)TJIT$d$s%gO}=TUmKm}*Pz=AH1ogduW"
    ")YGF$!1I8Vlz+nsRM4>%(icgz}x^3&y=mdB^AAbbWn*t#0#u^ZyqrpjzZj%j==Nhjm^a_#F|ItPWGp%2Mi0+PP{dAM4yFWP)<`Bv^W1)VZrRK91A"
    "}^NS90Hh<jz-Q@KD9=vZC&NrIx@!!UeL#h"
)
EXPECTED = {"chain": 587705675, "signs": 2729604572, "floats": 1783716655}
"""CRC-32 of each signature's output, stored values in C's order."""

THREADS = 2


def canary_model() -> bytes:
    """The .tflite file: one input ``x`` and one output ``y`` in each signature."""
    return zlib.decompress(base64.b85decode("".join(_PACKED)))


def canary_input(shape: tuple[int, ...], dtype: str) -> Array:
    """int8 or float32: every value comes up."""
    return (np.arange(np.prod(shape)) * 37 % 256 - 128).astype(dtype).reshape(shape)


def fault_of(name: InterpreterName) -> str | None:
    """Run it here, with the delegate; it may crash.

    Returns:
        What is wrong with the answers; None if nothing is.
    """
    backend = load_backend(name)
    interpreter = backend.module.Interpreter(
        model_content=canary_model(), num_threads=THREADS, experimental_delegates=[load(backend)]
    )
    interpreter.allocate_tensors()
    for signature, digest in EXPECTED.items():
        runner = interpreter.get_signature_runner(signature)
        details = runner.get_input_details()["x"]
        x = canary_input(tuple(map(int, details["shape"])), np.dtype(details["dtype"]).name)
        if zlib.crc32(np.ascontiguousarray(runner(x=x)["y"]).tobytes()) != digest:
            return f"it gives wrong answers ({signature})"
    return None


def try_in_child(name: InterpreterName) -> str | None:
    """Run it in a child process, which may crash.

    Returns:
        What is wrong with the delegate on this interpreter; None if nothing is.
    """
    # -P: a file called like a module in the working folder must not be imported instead of it.
    try:
        ended = run_watched([sys.executable, "-P", "-m", "multigraft.runtime.delegate.canary", name])
    except StuckError as error:
        return f"it does not end: {error}"
    if ended.returncode < 0:
        return f"it crashes: {signal.Signals(-ended.returncode).name}"
    if ended.returncode != 0:
        said = (ended.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        return said.rstrip(".")
    return None


def _main(name: InterpreterName) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    begin_step(THREADS)
    try:
        fault = fault_of(name)
    except (MultigraftError, ValueError, RuntimeError) as error:
        fault = str(error).strip().partition("\n")[0] or type(error).__name__
    if fault is not None:
        print(fault, file=sys.stderr)
    return fault is not None


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))  # type: ignore[arg-type]
