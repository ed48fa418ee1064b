"""The networks of `networks_from_elsewhere.py`: small members of the families of image classifiers, by library.

Every family of torchvision's classification models is here, and of timm every module of `timm.models` that has image
classifiers small enough for a step on a CPU: each by a small member, made shallower where its constructor allows that,
on images as small as the network as it was takes. SpikingJelly's are in `spikingjelly_networks.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

CLASSES = 4


@dataclass(frozen=True)
class Network:
    """A network of a library; `image` is the shape [C, H, W] of what it takes."""

    library: str
    family: str
    name: str
    image: tuple[int, int, int]
    make: Callable[[], nn.Module]


def _torchvision(family: str, name: str, size: int = 32, **settings: Any) -> Network:
    def make() -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, num_classes=CLASSES, **settings)

    return Network("torchvision", family, name, (3, size, size), make)


def _timm(family: str, name: str, size: int = 32, **settings: Any) -> Network:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **settings)

    return Network("timm", family, name, (3, size, size), make)


def _maxvit() -> nn.Module:
    """The function for this one allows no smaller windows, which larger images would need."""
    from torchvision.models import MaxVit

    return MaxVit(
        input_size=(64, 64), stem_channels=16, partition_size=4, block_channels=[16, 32], block_layers=[1, 1],
        head_dim=8, stochastic_depth_prob=0.2, num_classes=CLASSES,
    )  # fmt: skip


TORCHVISION = [
    _torchvision("AlexNet", "alexnet", 64),
    _torchvision("VGG", "vgg11"),
    _torchvision("VGG with batch norm", "vgg11_bn"),
    _torchvision("GoogLeNet", "googlenet", 64, aux_logits=False, init_weights=False),
    _torchvision("Inception v3", "inception_v3", 299, aux_logits=False, init_weights=False),
    _torchvision("ResNet", "resnet18"),
    _torchvision("ResNet, bottlenecks", "resnet50"),
    _torchvision("ResNeXt", "resnext50_32x4d"),
    _torchvision("wide ResNet", "wide_resnet50_2"),
    _torchvision("DenseNet", "densenet121"),
    _torchvision("SqueezeNet", "squeezenet1_1"),
    _torchvision("MNASNet", "mnasnet0_5"),
    _torchvision("MobileNet v2", "mobilenet_v2"),
    _torchvision("MobileNet v3", "mobilenet_v3_small"),
    _torchvision("ShuffleNet v2", "shufflenet_v2_x0_5"),
    _torchvision("EfficientNet", "efficientnet_b0"),
    _torchvision("EfficientNet v2", "efficientnet_v2_s"),
    _torchvision("RegNet X", "regnet_x_400mf"),
    _torchvision("RegNet Y", "regnet_y_400mf"),
    _torchvision("ConvNeXt", "convnext_tiny"),
    _torchvision("ViT", "vit_b_32", image_size=32),
    _torchvision("Swin", "swin_t"),
    _torchvision("Swin v2", "swin_v2_t"),
    Network("torchvision", "MaxViT", "maxvit_t", (3, 64, 64), _maxvit),
]

TIMM = [
    _timm("beit", "beit_base_patch16_224", img_size=32, depth=2, embed_dim=48, num_heads=3),
    _timm("byoanet", "eca_halonext26ts", 256),
    _timm("byobnet", "test_byobnet"),
    _timm("cait", "cait_xxs24_224", img_size=32, depth=2, embed_dim=48, num_heads=4),
    _timm("coat", "coat_lite_tiny", img_size=32),
    _timm("convit", "convit_tiny", img_size=32, depth=12, embed_dim=48),
    _timm("convmixer", "convmixer_768_32", 64),
    _timm("convnext", "test_convnext2"),
    _timm("cpubone", "cpubone_nano", 64),
    _timm("crossvit", "crossvit_tiny_240", 240),
    _timm("csatv2", "csatv2", 64),
    _timm("cspnet", "cs3darknet_focus_s"),
    _timm("cspnext", "cspnext_tiny"),
    _timm("davit", "davit_tiny", 64),
    _timm("deit", "deit_tiny_distilled_patch16_224", img_size=32, depth=2),
    _timm("densenet", "densenet121"),
    _timm("dla", "dla46x_c"),
    _timm("dpn", "dpn48b"),
    _timm("edgenext", "edgenext_xx_small"),
    _timm("efficientformer", "efficientformer_l1", 224),
    _timm("efficientformer_v2", "efficientformerv2_s0", 64, img_size=64),
    _timm("efficientnet", "test_efficientnet"),
    _timm("efficientvim", "efficientvim_m1", 64),
    _timm("efficientvit_mit", "efficientvit_b0"),
    _timm("efficientvit_msra", "efficientvit_m0", 224),
    _timm("eva", "eva02_tiny_patch14_224", 28, img_size=28, depth=2),
    _timm("fasternet", "fasternet_t0"),
    _timm("fastvit", "fastvit_t8"),
    _timm("focalnet", "focalnet_tiny_srf"),
    _timm("gcvit", "gcvit_xxtiny", 64, img_size=64, window_ratio=(32, 32, 16, 32)),
    _timm("ghostnet", "ghostnet_050"),
    _timm("hardcorenas", "hardcorenas_b"),
    _timm("hgnet", "hgnetv2_b0"),
    _timm("hiera", "hiera_tiny_224", 64, img_size=64),
    _timm("hrnet", "hrnet_w18_small"),
    _timm("iformer", "iformer_t", 64),
    _timm("inception_next", "inception_next_atto"),
    _timm("inception_resnet_v2", "inception_resnet_v2", 75),
    _timm("inception_v3", "inception_v3", 75),
    _timm("inception_v4", "inception_v4", 75),
    _timm("lcnetv2", "lcnetv2_small"),
    _timm("levit", "levit_128s", 64, img_size=64),
    _timm("lowformer", "lowformer_b0", 64),
    _timm("mambaout", "test_mambaout"),
    _timm("maxxvit", "test_maxvit", 64, img_size=64),
    _timm("metaformer", "poolformerv2_s12"),
    _timm("mlp_mixer", "gmlp_ti16_224", img_size=32),
    _timm("mobilenetv3", "mobilenetv3_small_050"),
    _timm("mobilevit", "mobilevit_xxs", 64),
    _timm("mvitv2", "mvitv2_tiny", 64, img_size=64),
    _timm("naflexvit", "naflexvit_base_patch16_gap", img_size=32, depth=2, embed_dim=48, num_heads=3),
    _timm("nest", "nest_tiny", 64, img_size=64),
    _timm("nextvit", "nextvit_small", 64),
    _timm("nfnet", "test_nfnet"),
    _timm("pit", "pit_ti_224", 64, img_size=64),
    _timm("pvt_v2", "pvt_v2_b0"),
    _timm("rdnet", "rdnet_tiny"),
    _timm("regnet", "regnety_002"),
    _timm("repghost", "repghostnet_050"),
    _timm("repvit", "repvit_m0_9"),
    _timm("res2net", "res2net50_14w_8s"),
    _timm("resnest", "resnest14d"),
    _timm("resnet", "test_resnet"),
    _timm("resnetv2", "resnetv2_18"),
    _timm("rexnet", "rexnet_100"),
    _timm("selecsls", "selecsls42"),
    _timm("senet", "legacy_seresnet18"),
    _timm("sequencer", "sequencer2d_s", 56, img_size=56, layers=(1, 1, 1, 1)),
    _timm("shvit", "shvit_s1", 64),
    _timm("sknet", "skresnet18"),
    _timm("starnet", "starnet_s050"),
    _timm("swiftformer", "swiftformer_xs"),
    _timm("swin_transformer", "swin_tiny_patch4_window7_224", img_size=32, depths=(1, 1, 2, 1), embed_dim=24),
    _timm("swin_transformer_v2", "swinv2_tiny_window8_256", img_size=32, depths=(1, 1, 2, 1), embed_dim=24),
    _timm("swin_transformer_v2_cr", "swinv2_cr_tiny_224", img_size=32, depths=(1, 1, 2, 1), embed_dim=24),
    _timm("tiny_vit", "tiny_vit_5m_224", 64),
    _timm("tnt", "tnt_s_patch16_224", img_size=32, depth=2),
    _timm("tresnet", "tresnet_m"),
    _timm("twins", "twins_svt_small", 32, img_size=32),
    _timm("vgg", "vgg11"),
    _timm("visformer", "visformer_tiny", img_size=32),
    _timm("vision_transformer", "test_vit", img_size=32),
    _timm("vision_transformer_hybrid", "vit_tiny_r_s16_p8_224", 128, img_size=128, depth=2),
    _timm("vision_transformer_relpos", "test_vit_relpos", img_size=32),
    _timm("vitamin", "vitamin_small_224", img_size=32),
    _timm("volo", "volo_d1_224", 64, img_size=64),
    _timm("vovnet", "ese_vovnet19b_slim_dw"),
    _timm("xception", "legacy_xception", 71),
    _timm("xception_aligned", "xception41p"),
    _timm("xcit", "xcit_nano_12_p16_224", img_size=32),
]
